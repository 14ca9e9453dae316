import { describe, expect, it } from 'vitest';
import { connect } from '../../../../simulator/hypervisor/connection.ts';
import { VM, World } from '../world.ts';
import { report, result, toDestination } from './run-stage.ts';

describe('inspect', () => {
  it('lists all VMs when none is named', async () => {
    const world = new World();
    world.fleet.addGuest('kvm-a', { name: 'db01' });
    const { domains } = await result(world, 'inspect', { vm: undefined, fence: false });
    expect(domains?.map(({ name, state }) => [name, state])).toEqual([
      [VM, 'running'],
      ['db01', 'running'],
    ]);
  });

  it('proves a VM absent', async () => {
    const { evidence } = await result(new World(), 'inspect', { ...toDestination, fence: false });
    expect(evidence).toEqual({ state: 'absent', detail: 'no such domain', jobActive: false, mover: 'not-asked' });
  });

  it('kills the mover first when asked, and waits until its job is gone', async () => {
    const world = new World();
    await world.movers.start(world.task('precopy'));
    await world.clock.advance(1_000);
    const { evidence } = await result(world, 'inspect', { fence: true });
    expect(evidence).toMatchObject({ state: 'running', jobActive: false, mover: 'killed' });
    expect((await result(world, 'inspect', { fence: true }, 2)).evidence?.mover).toBe('none');
  });

  it('says so when a job does not go away', async () => {
    const world = new World();
    const connection = await connect(world.fleet, 'kvm-a', 'qemu:///system');
    void connection.find(VM).then((domain) => domain?.begin({ name: VM, persistent: true }));
    const { evidence } = await result(world, 'inspect', { fence: true });
    expect(evidence).toMatchObject({ jobActive: true, mover: 'none' });
  });

  it('gives no evidence when libvirt does not answer', async () => {
    const world = new World();
    world.source.faults.set('connect', () => Promise.reject(new Error('no socket')));
    expect(await report(world, 'inspect', { fence: false })).toMatchObject({
      failure: { code: 'HypervisorUnreachable' },
    });
  });
});
