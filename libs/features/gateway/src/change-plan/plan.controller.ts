import { changedPlanSchema, changePlanSchema } from '@answerline/contracts';
import { MessageBus } from '@answerline/messaging';
import { Body, Controller, Param, Put } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { Answers, idSchema, OperatorOnly } from '../management-api/route.ts';
import { ChangePlan } from './change-plan.ts';

@ApiTags('Operator')
@Controller('api/v1/operator/workspaces')
@OperatorOnly(true)
export class PlanController {
  readonly #plans: ChangePlan;
  readonly #bus: MessageBus;

  constructor(plans: ChangePlan, bus: MessageBus) {
    this.#plans = plans;
    this.#bus = bus;
  }

  @Put(':id/plan')
  @Answers('Change the plan of a workspace (operator)', 200, changedPlanSchema)
  async change(
    @Param('id', { schema: idSchema }) id: string,
    @Body({ schema: changePlanSchema }) { plan }: z.infer<typeof changePlanSchema>,
  ): Promise<z.infer<typeof changedPlanSchema>> {
    const changed = await this.#plans.execute(id, plan);
    for (const doorbell of ['mail', 'outbox', 'send'] as const) this.#bus.ring(doorbell);
    return changed;
  }
}
