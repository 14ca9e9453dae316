import { linkedController } from '../common/abort.ts';
import { SiblingFailed } from '../common/failures.ts';
import { type Branch, childBranch } from './branch.ts';

/**
 * Runs `count` lines of states, at most `concurrency` at a time, and returns their results in order. The first failure aborts
 * the others; it is thrown when all have come to rest, so that nothing of a branch outlives its state.
 */
export async function runTogether<T>(
  parent: Branch,
  count: number,
  concurrency: number,
  run: (branch: Branch, index: number) => Promise<T>,
): Promise<T[]> {
  const { controller, unlink } = linkedController(parent.signal);
  const results: T[] = [];
  let failure: { error: unknown } | undefined;
  let next = 0;
  // Their lines of events begin where the state's own was; the one that ends last is continued by the state.
  const start = parent.lastEventId;
  const worker = async () => {
    while (next < count && !controller.signal.aborted) {
      const index = next++;
      const branch = { ...childBranch(parent, controller.signal), lastEventId: start };
      try {
        results[index] = await run(branch, index);
      } catch (error) {
        failure ??= { error };
        controller.abort(new SiblingFailed());
      }
      parent.lastEventId = branch.lastEventId;
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, count) }, worker));
  unlink();
  parent.signal.throwIfAborted();
  if (failure !== undefined) throw failure.error;
  return results;
}
