import type { Json } from '../../core/service.ts';
import type { Payload } from '../common/payload.ts';
import type { MapState } from '../definition/definition.ts';
import type { Branch, RunBranch } from './branch.ts';
import { runTogether } from './together.ts';
import type { Outcome, Visit } from './visit.ts';

/** Inline Maps run at most 40 iterations at a time on AWS, whatever MaxConcurrency says. */
const MOST_CONCURRENT = 40;

export async function attemptMap(visit: Visit, state: MapState, runBranch: RunBranch): Promise<Outcome> {
  const items = state.items ? await visit.fill(state.items) : visit.input.value;
  if (!Array.isArray(items)) return visit.failEvaluation('The items of a Map state must be an array.', 'Items');
  const asked = state.maxConcurrency ? await visit.fillNumber(state.maxConcurrency, 'MaxConcurrency', 0) : 0;
  const concurrency = Math.min(asked || MOST_CONCURRENT, MOST_CONCURRENT);
  visit.record('MapStateStarted', { mapStateStartedEventDetails: { length: items.length } });
  const iterate: Iterate = (branch, index) =>
    runIteration(visit, state, { branch, index, item: items[index]! }, runBranch);
  const result = await runIterations(visit, items.length, concurrency, iterate);
  visit.record('MapStateSucceeded');
  return visit.conclude(state, result, { result: result.value });
}

/** Runs one iteration of a Map in a branch of its own. */
type Iterate = (branch: Branch, index: number) => Promise<Payload>;

async function runIterations(visit: Visit, count: number, concurrency: number, iterate: Iterate): Promise<Payload> {
  try {
    const outputs = await runTogether(visit.branch, count, concurrency, iterate);
    const values = outputs.map(({ value }) => value);
    return visit.payload(values, 'result');
  } catch (error) {
    if (!visit.branch.signal.aborted) visit.record('MapStateFailed');
    throw error;
  }
}

async function runIteration(
  visit: Visit,
  state: MapState,
  { branch, index, item }: { branch: Branch; index: number; item: Json },
  runBranch: RunBranch,
): Promise<Payload> {
  const record = (what: string) => {
    const details = { [`mapIteration${what}EventDetails`]: { name: state.name, index } };
    branch.run.history.add(branch, `MapIteration${what}`, details);
  };
  const mapItem = { Index: index, Value: item, Source: 'STATE_DATA' };
  branch.mapItem = mapItem;
  const input = state.itemSelector ? await visit.fill(state.itemSelector, { mapItem }) : item;
  record('Started');
  try {
    const output = await runBranch(branch, state.processor, visit.payload(input, 'item'));
    record('Succeeded');
    return output;
  } catch (error) {
    record(branch.signal.aborted ? 'Aborted' : 'Failed');
    throw error;
  }
}
