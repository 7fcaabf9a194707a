import { Module } from '@nestjs/common';
import { Answerer } from './answerer.ts';
import { ExtractiveAnswerer } from './extractive-answerer.ts';

/** Provides {@link Answerer}. */
@Module({
  providers: [{ provide: Answerer, useClass: ExtractiveAnswerer }],
  exports: [Answerer],
})
export class LanguageModelModule {}
