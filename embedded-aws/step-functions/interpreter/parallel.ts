import type { Payload } from '../common/payload.ts';
import type { ParallelState } from '../definition/definition.ts';
import type { RunBranch } from './branch.ts';
import { runTogether } from './together.ts';
import type { Outcome, Visit } from './visit.ts';

export async function attemptParallel(visit: Visit, state: ParallelState, runBranch: RunBranch): Promise<Outcome> {
  const input = state.arguments ? visit.payload(await visit.fill(state.arguments), 'arguments') : visit.input;
  visit.record('ParallelStateStarted');
  const result = await runBranches(visit, state, input, runBranch);
  visit.record('ParallelStateSucceeded');
  return visit.conclude(state, result, { result: result.value });
}

async function runBranches(
  visit: Visit,
  { branches }: ParallelState,
  input: Payload,
  runBranch: RunBranch,
): Promise<Payload> {
  try {
    const outputs = await runTogether(visit.branch, branches.length, branches.length, (branch, index) =>
      runBranch(branch, branches[index]!, input),
    );
    const values = outputs.map(({ value }) => value);
    return visit.payload(values, 'result');
  } catch (error) {
    if (!visit.branch.signal.aborted) visit.record('ParallelStateFailed');
    throw error;
  }
}
