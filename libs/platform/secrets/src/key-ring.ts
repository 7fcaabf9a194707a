/** Keys by id, 32 bytes each. The first one writes, all of them read: put a new key in front to rotate. */
export type KeyRing = readonly { readonly id: string; readonly key: Uint8Array }[];
