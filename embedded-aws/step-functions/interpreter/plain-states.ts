import { StateFailure } from '../common/failures.ts';
import { sleepUntil } from '../common/waiting.ts';
import type { ChoiceState, FailState, PassState, SucceedState, WaitState } from '../definition/definition.ts';
import type { Outcome, Visit } from './visit.ts';

const LONGEST_WAIT_SECONDS = 99_999_999;
const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/;

export function passOn(visit: Visit, state: PassState | SucceedState): Promise<Outcome> {
  return visit.conclude(state, visit.input);
}

export async function choose(visit: Visit, state: ChoiceState): Promise<Outcome> {
  for (const [index, rule] of state.rules.entries()) {
    const matched = await visit.fill(rule.condition);
    if (typeof matched !== 'boolean') {
      const field = `Choices/${index}/Condition`;
      visit.failEvaluation(`The field '${field}' must be true or false, not ${JSON.stringify(matched)}.`, field);
    }
    if (matched) return visit.conclude(rule, visit.input);
  }
  if (state.next === undefined) {
    throw new StateFailure(
      'States.NoChoiceMatched',
      `No rule of the Choice state '${state.name}' matched and it has no Default.`,
    );
  }
  return visit.conclude(state, visit.input);
}

export async function wait(visit: Visit, state: WaitState): Promise<Outcome> {
  const { signal, run } = visit.branch;
  await sleepUntil(run.environment.clock, await waitsUntil(visit, state), signal);
  signal.throwIfAborted();
  return visit.conclude(state, visit.input);
}

/** The moment a Wait state ends, in ms since the epoch. */
async function waitsUntil(visit: Visit, { until }: WaitState): Promise<number> {
  if (until.kind === 'timestamp') {
    const timestamp = await visit.fillText(until.template, 'Timestamp');
    const moment = RFC3339.test(timestamp) ? Date.parse(timestamp) : Number.NaN;
    if (!Number.isNaN(moment)) return moment;
    return visit.failEvaluation(
      `The field 'Timestamp' must be an RFC 3339 timestamp, not '${timestamp}'.`,
      'Timestamp',
    );
  }
  const seconds = await visit.fillNumber(until.template, 'Seconds', 0);
  if (seconds > LONGEST_WAIT_SECONDS) {
    visit.failEvaluation(`The field 'Seconds' must not be more than ${LONGEST_WAIT_SECONDS}.`, 'Seconds');
  }
  return visit.branch.run.environment.clock.now() + seconds * 1_000;
}

export async function fail(visit: Visit, state: FailState): Promise<never> {
  const error = state.error && (await visit.fillText(state.error, 'Error'));
  const cause = state.cause && (await visit.fillText(state.cause, 'Cause'));
  throw new StateFailure(error, cause);
}
