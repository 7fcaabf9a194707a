import { changeHolderSchema, conversationSchema, messageSchema, sendMessageSchema } from '@answerline/contracts';
import { Body, Controller, Param, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { ReadConversations } from '../read-conversations/read-conversations.ts';
import { AnswerAsHuman } from './answer-as-human.ts';

@ApiTags('Conversations')
@Controller('api/v1/conversations')
export class AnswerAsHumanController {
  readonly #human: AnswerAsHuman;
  readonly #conversations: ReadConversations;

  constructor(human: AnswerAsHuman, conversations: ReadConversations) {
    this.#human = human;
    this.#conversations = conversations;
  }

  @Post(':id/messages')
  @Answers(
    'Answer as a human. The AI is silent for 24 hours from then on. 409 window_closed: the contact has not written in the last 24 hours',
    201,
    messageSchema,
  )
  say(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
    @Body({ schema: sendMessageSchema }) { text }: z.infer<typeof sendMessageSchema>,
  ): Promise<z.infer<typeof messageSchema>> {
    return this.#human.say(workspaceId, id, text);
  }

  @Post(':id/handoff')
  @Answers(
    'Take a conversation over from the AI, or hand it back. A take-over is answered when no word of the AI is under way any more',
    200,
    conversationSchema,
  )
  async changeHolder(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
    @Body({ schema: changeHolderSchema }) body: z.infer<typeof changeHolderSchema>,
  ): Promise<z.infer<typeof conversationSchema>> {
    if (body.action === 'take_over') await this.#human.takeOver(workspaceId, id, body.untilHandBack);
    else await this.#human.handBack(workspaceId, id, body.note);
    return this.#conversations.read(workspaceId, id);
  }
}
