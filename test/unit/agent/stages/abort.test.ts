import { describe, expect, it } from 'vitest';
import { runRequest } from '../../../../agent/run.ts';
import type { CopyState } from '../../../../contract/facts.ts';
import { AgentTestEnvironment, MIGRATION, VM } from '../agent-test-environment.ts';
import { report, result } from './run-stage.ts';

describe('abort', () => {
  type State = CopyState;
  function given(state: State): AgentTestEnvironment {
    const environment = new AgentTestEnvironment();
    const copy = environment.source.copies.get(VM)!;
    if (state === 'absent') environment.source.copies.delete(VM);
    else Object.assign(copy, { state, detail: state });
    return environment;
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
    const environment = given(state);
    expect(await report(environment, 'abort', { action })).toMatchObject({
      kind: 'failed',
      failure: { code: 'NeedsOperator' },
    });
    expect(environment.source.copies.get(VM)?.state ?? 'absent').toBe(state);
  });

  it('does not resume what libvirt still has a job on', async () => {
    const environment = new AgentTestEnvironment();
    environment.mailbox.onCommit = () => new Promise(() => {});
    await environment.movers.start(environment.task('precopy'));
    await environment.clock.advance(10_000);
    await environment.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);
    await environment.until(() => environment.at('source') === 'paused (migrating)');
    const task = environment.task('abort', { action: 'resume' });
    const run = runRequest(environment.give(task), environment.deps());
    await environment.clock.advance(1_000);
    await run;
    expect(environment.reportOf('abort')).toMatchObject({
      failure: { code: 'NeedsOperator', message: expect.stringContaining('job') },
    });
  });
});
