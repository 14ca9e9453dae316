import { COMPLETE } from '../common/history.ts';
import type { Payload } from '../common/payload.ts';
import type { State, Workflow } from '../definition/definition.ts';
import type { Branch } from './branch.ts';
import { attemptMap } from './map.ts';
import { attemptParallel } from './parallel.ts';
import { choose, fail, passOn, wait } from './plain-states.ts';
import { withRecovery } from './recovery.ts';
import { attemptTask } from './task.ts';
import { type Outcome, Visit } from './visit.ts';

/** State types whose interruption has an event of its own. */
const ABORTABLE = ['Task', 'Wait', 'Parallel', 'Map'];

/**
 * Runs states from the workflow's start to its end and returns the last one's output. Rejects with a StateFailure that nothing
 * caught, or with the reason of the branch's signal; by then nothing of the branch is left running.
 */
export async function runBranch(branch: Branch, workflow: Workflow, input: Payload): Promise<Payload> {
  let name: string | undefined = workflow.startAt;
  let payload = input;
  while (name !== undefined) {
    branch.signal.throwIfAborted();
    const { next, output }: Outcome = await visitState(branch, workflow.states.get(name)!, payload);
    name = next;
    payload = output;
  }
  return payload;
}

async function visitState(branch: Branch, state: State, input: Payload): Promise<Outcome> {
  const { history } = branch.run;
  history.add(branch, `${state.type}StateEntered`, {
    stateEnteredEventDetails: { name: state.name, input: input.text, inputDetails: COMPLETE },
  });
  const visit = new Visit(branch, state, input);
  try {
    const outcome = await perform(visit, state);
    branch.signal.throwIfAborted();
    leave(visit, outcome);
    return outcome;
  } catch (error) {
    if (branch.signal.aborted && ABORTABLE.includes(state.type)) visit.record(`${state.type}StateAborted`);
    branch.signal.throwIfAborted();
    throw visit.failureOf(error);
  }
}

function perform(visit: Visit, state: State): Promise<Outcome> {
  switch (state.type) {
    case 'Task':
      return withRecovery(visit, state, () => attemptTask(visit, state));
    case 'Parallel':
      return withRecovery(visit, state, () => attemptParallel(visit, state, runBranch));
    case 'Map':
      return withRecovery(visit, state, () => attemptMap(visit, state, runBranch));
    case 'Pass':
    case 'Succeed':
      return passOn(visit, state);
    case 'Choice':
      return choose(visit, state);
    case 'Wait':
      return wait(visit, state);
    case 'Fail':
      return fail(visit, state);
  }
}

function leave(visit: Visit, { output, assigned }: Outcome): void {
  const { state, branch } = visit;
  if (assigned) branch.variables.assign(assigned);
  visit.record(`${state.type}StateExited`, {
    stateExitedEventDetails: {
      name: state.name,
      output: output.text,
      outputDetails: COMPLETE,
      ...(assigned && {
        assignedVariables: Object.fromEntries(
          Object.entries(assigned).map(([name, value]) => [name, JSON.stringify(value)]),
        ),
        assignedVariablesDetails: COMPLETE,
      }),
    },
  });
}
