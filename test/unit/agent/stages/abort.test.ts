import { describe, expect, it } from 'vitest';
import { runRequest } from '../../../../agent/run.ts';
import type { CopyState } from '../../../../contract/facts.ts';
import { MIGRATION, VM, World } from '../world.ts';
import { report, result } from './run-stage.ts';

describe('abort', () => {
  type State = CopyState;
  function given(state: State): World {
    const world = new World();
    const copy = world.source.copies.get(VM)!;
    if (state === 'absent') world.source.copies.delete(VM);
    else Object.assign(copy, { state, detail: state });
    return world;
  }

  it.each([
    ['resume', 'migrating-paused', 'running'],
    ['resume', 'running', 'running'],
    ['remove-paused-copy', 'migrating-paused', 'absent'],
    ['remove-paused-copy', 'shutoff', 'absent'],
    ['remove-paused-copy', 'absent', 'absent'],
    ['destroy-incoming', 'incoming', 'absent'],
    ['destroy-incoming', 'absent', 'absent'],
    ['destroy-incoming', 'shutoff', 'shutoff'],
  ] as const)('%s of a VM that is %s leaves it %s', async (action, from, to) => {
    const { evidence } = await result(given(from), 'abort', { action });
    expect(evidence.state).toBe(to);
  });

  it.each([
    ['resume', 'paused'],
    ['resume', 'incoming'],
    ['resume', 'absent'],
    ['resume', 'shutoff'],
    ['remove-paused-copy', 'running'],
    ['remove-paused-copy', 'paused'],
    ['remove-paused-copy', 'incoming'],
    ['destroy-incoming', 'running'],
    ['destroy-incoming', 'paused'],
    ['destroy-incoming', 'migrating-paused'],
    // Half of a VM is needed by the other half.
    ['resume', 'postcopy-paused'],
    ['resume', 'postcopy-failed'],
    ['remove-paused-copy', 'postcopy-paused'],
    ['remove-paused-copy', 'postcopy-failed'],
    ['destroy-incoming', 'postcopy-running'],
    ['destroy-incoming', 'postcopy-failed'],
    ['resume-postcopy', 'running'],
    ['resume-postcopy', 'migrating-paused'],
    ['resume-postcopy', 'postcopy-paused'],
    ['resume-postcopy', 'postcopy-running'],
  ] as const)('%s of a VM that is %s is refused, and touches nothing', async (action, state) => {
    const world = given(state);
    expect(await report(world, 'abort', { action })).toMatchObject({
      kind: 'failed',
      failure: { code: 'NeedsOperator' },
    });
    expect(world.source.copies.get(VM)?.state ?? 'absent').toBe(state);
  });

  it('does not resume what libvirt still has a job on', async () => {
    const world = new World();
    world.mailbox.onCommit = () => new Promise(() => {});
    await world.movers.start(world.task('precopy'));
    await world.clock.advance(10_000);
    await world.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);
    await world.until(() => world.at('source') === 'paused (migrating)');
    const task = world.task('abort', { action: 'resume' });
    const run = runRequest(world.give(task), world.deps());
    await world.clock.advance(1_000);
    await run;
    expect(world.reportOf('abort')).toMatchObject({
      failure: { code: 'NeedsOperator', message: expect.stringContaining('job') },
    });
  });
});
