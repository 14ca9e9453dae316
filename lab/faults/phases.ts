import { setTimeout as sleep } from 'node:timers/promises';
import { parseMailboxItem } from '../../contract/mailbox.ts';
import { AwsError, type JsonObject } from '../../embedded-aws/core/service.ts';
import type { Fate } from '../clients/message-relay.ts';
import type { Observation } from './domain-state-monitor.ts';
import type { FaultContext } from './fault-catalog.ts';
import type { AwsCall, Observer } from './fault-testbed.ts';

/**
 * The points at which faults are injected, in the order of the handshake. Verify is ordered as soon as the VM runs on the
 * destination, so it begins while the source's copy is still being taken down: `confirmed` may come before or after it.
 */
export const PHASES = {
  prepare: 'Prepare has been carried out, its answer not yet read',
  copying: 'half a second into the copy',
  held: 'the copy is about to be held, its report of that on its way to AWS',
  performed: 'both copies are paused, the commit is not yet carried out',
  committed: 'the commit is carried out, its answer not yet read',
  finished: 'Finish is answered, Confirm not yet called',
  verify: 'the destination begins to verify',
  confirmed: "the source's copy is gone",
} as const;
export type Phase = keyof typeof PHASES;

const INTO_THE_COPY_MS = 500;

export interface Injection {
  /** Called when the phase is reached; awaited wherever the migration can be held at the phase. */
  inject(): Promise<void>;
  /** The fault kills the process that makes the commit: a commit that is intercepted must then not be carried out. */
  killsTheCaller: boolean;
}

/** Injects once the migration reaches the phase; returns a function to be called with both hosts' states at every poll. */
export function arm(
  phase: Phase,
  { testbed, to }: FaultContext,
  { inject, killsTheCaller }: Injection,
): (sight: Observation) => void {
  const observe = (observer: Observer) => testbed.observe(observer);
  const relay = testbed.relayTo(to);
  let injected: Promise<void> | undefined;
  // The mover repeats a call that is slow: the repetition, too, waits until the fault is injected.
  const once = () => {
    injected ??= inject();
    return injected;
  };
  switch (phase) {
    case 'prepare':
      relay.rule(async (direction, procedure): Promise<Fate> => {
        if (direction === 'reply' && procedure === 'DOMAIN_MIGRATE_PREPARE3_PARAMS') await once();
        return 'pass';
      });
      break;
    case 'copying':
      observe((call, next) => {
        if (isReport(call, '"phase":{"S":"copying"}')) void sleep(INTO_THE_COPY_MS).then(once);
        return next();
      });
      break;
    case 'held':
      observe(async (call, next) => {
        if (isReport(call, '"precopy":{"S":"approaching"}')) await once();
        return next();
      });
      break;
    case 'performed':
      observe(async (call, next) => {
        if (!isCommit(call)) return next();
        await once();
        if (killsTheCaller) throw new AwsError('InternalServerError', 'The caller is dead.', 500);
        return next();
      });
      break;
    case 'committed':
      observe(async (call, next) => {
        if (!isCommit(call)) return next();
        try {
          const answer = await next();
          await once();
          return answer;
        } catch (error) {
          // Refused: a repeated commit of this mover, or a late one of an earlier migration, at which nothing is injected.
          await injected;
          throw error;
        }
      });
      break;
    case 'finished': {
      let answered = false;
      relay.rule(async (direction, procedure): Promise<Fate> => {
        if (direction === 'reply' && procedure === 'DOMAIN_MIGRATE_FINISH3_PARAMS') answered = true;
        // The mover's next call, of the figures, comes before its Confirm.
        else if (answered && direction === 'call') await once();
        return 'pass';
      });
      break;
    }
    case 'verify':
      observe(async (call, next) => {
        if (keyOf(call).includes('.verify.destination.') && call.operation === 'UpdateItem') await once();
        return next();
      });
      break;
    case 'confirmed':
      return ({ source, destination }) => {
        if (source.state === 'absent' && destination.state === 'running') void once();
      };
  }
  return () => {};
}

const isReport = (call: AwsCall, what: string): boolean =>
  parseMailboxItem(keyOf(call))?.kind === 'report' && JSON.stringify(call.input).includes(what);

/** The mover's write that hands the VM over. */
export const isCommit = (call: AwsCall): boolean =>
  parseMailboxItem(keyOf(call))?.kind === 'commit' && JSON.stringify(call.input).includes('committedBy');

function keyOf({ input }: AwsCall): string {
  const key = input.Key as JsonObject | undefined;
  return ((key?.sk as JsonObject | undefined)?.S as string | undefined) ?? '';
}
