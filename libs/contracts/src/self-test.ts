/**
 * The `object` of the delivery that a health check sends to our own callback. Meta's own bodies say
 * `whatsapp_business_account`. Ingest keeps nothing of it but the verdict `self_test`.
 */
export const selfTestObject = 'answerline_self_test';
