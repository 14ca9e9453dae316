import { describe, expect, it } from 'vitest';
import { runRequest } from '../../../../agent/run.ts';
import type { ResultOf } from '../../../../contract/reports.ts';
import { MIGRATION, VM, World } from '../world.ts';
import { failedOf, result, toDestination } from './run-stage.ts';

describe('verify', () => {
  async function moved(guest: { address?: string } = {}): Promise<World> {
    const world = new World(guest);
    await move(world);
    return world;
  }

  async function move(world: World): Promise<void> {
    await world.movers.start(world.task('precopy'));
    await world.until(() => world.reportOf('precopy')?.kind === 'succeeded');
    await world.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);
    await world.until(() => world.reportOf('cutover')?.kind === 'succeeded');
  }

  it('finds the VM running on the destination and gone from the source, which may take the mover a moment', async () => {
    const world = await moved();
    expect(world.at('source')).toBe('paused (migrating)');
    expect((await result(world, 'verify')).checks).toMatchObject([{ name: 'gone', passed: true }]);
    const { checks } = await result(world, 'verify', toDestination);
    expect(checks.map(({ name, passed }) => [name, passed])).toEqual([
      ['running', true],
      ['vcpu-advancing', true],
      ['disks', true],
      ['network:br0', true],
    ]);
  });

  it('fails on a source that keeps its copy', async () => {
    const world = new World();
    // The mover dies right before it would have the copy removed.
    world.source.faults.set('confirm', () => new Promise(() => {}));
    await move(world);
    await world.movers.fence(MIGRATION);
    expect((await result(world, 'verify')).checks).toMatchObject([
      { name: 'gone', passed: false, found: expect.stringContaining('paused (migrating)') },
    ]);
  });

  it.each([
    ['192.0.2.7', true],
    ['192.0.2.8', false],
  ])('looks for the guest where it should answer: %s', async (guestAddress, passed) => {
    const world = await moved({ address: '192.0.2.7' });
    const { checks } = await result(world, 'verify', { ...toDestination, guestAddress });
    expect(checks.find(({ name }) => name === 'reachable')?.passed).toBe(passed);
  });

  it('fails on a VM that is there but does not run', async () => {
    const world = await moved();
    Object.assign(world.destination.copies.get(VM)!, { state: 'paused', detail: 'paused (I/O error)' });
    expect(failedOf((await result(world, 'verify', toDestination)).checks)).toEqual(['running', 'vcpu-advancing']);
  });

  it('fails on a tap that hangs elsewhere', async () => {
    const world = await moved();
    const task = world.task('verify', toDestination);
    const deps = world.deps('destination');
    const run = runRequest(world.give(task), { ...deps, facts: { ...deps.facts, masterOf: async () => 'br9' } });
    await world.clock.runUntilIdle();
    await run;
    const said = world.reportOf('verify', 'destination') as { result: ResultOf<'verify'> };
    expect(failedOf(said.result.checks)).toEqual(['network:br0']);
  });
});
