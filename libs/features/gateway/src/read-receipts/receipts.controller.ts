import { receiptSchema } from '@answerline/contracts';
import { Controller, Get, Param } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { ReadReceipts } from './read-receipts.ts';

@ApiTags('Receipts')
@Controller('api/v1')
export class ReceiptsController {
  readonly #receipts: ReadReceipts;

  constructor(receipts: ReadReceipts) {
    this.#receipts = receipts;
  }

  @Get('messages/:id/receipt')
  @Answers('How the reply that is this message came about', 200, receiptSchema)
  ofMessage(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) messageId: string,
  ): Promise<z.infer<typeof receiptSchema>> {
    return this.#receipts.ofMessage(workspaceId, messageId);
  }

  @Get('receipts/:id')
  @Answers('A receipt, also that of a question asked by API', 200, receiptSchema)
  read(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof receiptSchema>> {
    return this.#receipts.byId(workspaceId, id);
  }
}
