import { faultsSchema, type CallKind, type Faults } from './control-schemas.ts';
import { createRandom } from './random.ts';

/** What goes wrong with one Graph call. */
export interface CallFault {
  readonly latencyMs: number;
  readonly cutBeforeAccept: boolean;
  readonly cutAfterAccept: boolean;
  readonly statusBeforeAnswer: boolean;
  readonly expiredToken: boolean;
  readonly error:
    (Pick<Faults, 'errorCode' | 'errorSubcode' | 'graphErrorBody'> & { readonly status: number }) | undefined;
}

const noFaults = faultsSchema.parse({});
const none: CallFault = {
  latencyMs: 0,
  cutBeforeAccept: false,
  cutAfterAccept: false,
  statusBeforeAnswer: false,
  expiredToken: false,
  error: undefined,
};

/** The faults that are switched on, drawn anew for each call from a seeded source. */
export class FaultSwitch {
  private faults = noFaults;
  private callsLeft = Number.POSITIVE_INFINITY;
  private random: () => number;

  constructor(private readonly seed: number) {
    this.random = createRandom(seed);
  }

  get current(): Faults {
    return this.callsLeft > 0 ? this.faults : noFaults;
  }

  set(faults: Faults): void {
    this.faults = faults;
    this.callsLeft = faults.forNextCalls ?? Number.POSITIVE_INFINITY;
  }

  clear(): void {
    this.set(noFaults);
  }

  reset(): void {
    this.clear();
    this.reseed(this.seed);
  }

  reseed(seed: number): void {
    this.random = createRandom(seed);
  }

  /** The fault of the next call of this kind, whose path is given without query. */
  next(kind: CallKind, path: string): CallFault {
    const { faults, random } = this;
    if (faults === noFaults || this.callsLeft <= 0 || !isMeant(faults, kind, path)) return none;
    this.callsLeft -= 1;
    if (faults.share < 1 && random() >= faults.share) return none;
    const { graphErrorStatus, errorCode, errorSubcode, graphErrorBody } = faults;
    const status = graphErrorStatus ?? (errorCode === undefined ? undefined : 0);
    return {
      latencyMs: faults.latencyMs + (faults.latencyJitterMs === 0 ? 0 : random() * faults.latencyJitterMs),
      cutBeforeAccept: faults.cutBeforeAccept > 0 && random() < faults.cutBeforeAccept,
      cutAfterAccept: faults.cutAfterAccept > 0 && random() < faults.cutAfterAccept,
      statusBeforeAnswer: faults.statusBeforeAnswer,
      expiredToken: faults.expiredToken,
      error: status === undefined ? undefined : { status, errorCode, errorSubcode, graphErrorBody },
    };
  }
}

function isMeant({ kinds, pathEndsWith }: Faults, kind: CallKind, path: string): boolean {
  return (kinds?.includes(kind) ?? true) && path.endsWith(pathEndsWith ?? '');
}
