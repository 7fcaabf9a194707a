import { type DynamicModule, type InjectionToken, Module } from '@nestjs/common';

/** A connected part and the token it is injected by. */
export type Part = readonly [token: InjectionToken, value: unknown];

/** Gives what was connected before Nest started to all modules. Whoever connected it closes it, after Nest has stopped. */
@Module({})
export class PartsModule {
  static of(parts: readonly Part[]): DynamicModule {
    const providers = parts.map(([provide, useValue]) => ({ provide, useValue }));
    return { module: PartsModule, global: true, providers, exports: providers.map(({ provide }) => provide) };
  }
}
