import { describe, expect, it } from 'vitest';
import { runRequest } from '../../../../agent/run.ts';
import type { ResultOf } from '../../../../contract/reports.ts';
import { AgentTestEnvironment, MIGRATION, VM } from '../agent-test-environment.ts';
import { failedOf, result, toDestination } from './run-stage.ts';

describe('verify', () => {
  async function moved(guest: { address?: string } = {}): Promise<AgentTestEnvironment> {
    const environment = new AgentTestEnvironment(guest);
    await move(environment);
    return environment;
  }

  async function move(environment: AgentTestEnvironment): Promise<void> {
    await environment.movers.start(environment.task('precopy'));
    await environment.until(() => environment.reportOf('precopy')?.kind === 'succeeded');
    await environment.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);
    await environment.until(() => environment.reportOf('cutover')?.kind === 'succeeded');
  }

  it('finds the VM running on the destination and gone from the source, which may take the mover a moment', async () => {
    const environment = await moved();
    expect(environment.at('source')).toBe('paused (migrating)');
    expect((await result(environment, 'verify')).checks).toMatchObject([{ name: 'gone', passed: true }]);
    const { checks } = await result(environment, 'verify', toDestination);
    expect(checks.map(({ name, passed }) => [name, passed])).toEqual([
      ['running', true],
      ['vcpu-advancing', true],
      ['disks', true],
      ['network:br0', true],
    ]);
  });

  it('fails on a source that keeps its copy', async () => {
    const environment = new AgentTestEnvironment();
    // The mover dies right before it would have the copy removed.
    environment.source.faults.set('confirm', () => new Promise(() => {}));
    await move(environment);
    await environment.movers.fence(MIGRATION);
    expect((await result(environment, 'verify')).checks).toMatchObject([
      { name: 'gone', passed: false, found: expect.stringContaining('paused (migrating)') },
    ]);
  });

  it.each([
    ['192.0.2.7', true],
    ['192.0.2.8', false],
  ])('looks for the guest where it should answer: %s', async (guestAddress, passed) => {
    const environment = await moved({ address: '192.0.2.7' });
    const { checks } = await result(environment, 'verify', { ...toDestination, guestAddress });
    expect(checks.find(({ name }) => name === 'reachable')?.passed).toBe(passed);
  });

  it('fails on a VM that is there but does not run', async () => {
    const environment = await moved();
    Object.assign(environment.destination.copies.get(VM)!, { state: 'paused', detail: 'paused (I/O error)' });
    expect(failedOf((await result(environment, 'verify', toDestination)).checks)).toEqual([
      'running',
      'vcpu-advancing',
    ]);
  });

  it('fails on a tap that hangs elsewhere', async () => {
    const environment = await moved();
    const task = environment.task('verify', toDestination);
    const deps = environment.deps('destination');
    const run = runRequest(environment.give(task), { ...deps, facts: { ...deps.facts, masterOf: async () => 'br9' } });
    await environment.clock.runUntilIdle();
    await run;
    const said = environment.reportOf('verify', 'destination') as { result: ResultOf<'verify'> };
    expect(failedOf(said.result.checks)).toEqual(['network:br0']);
  });
});
