import { describe, expect, it } from 'vitest';
import { connect } from '../../../../simulator/hypervisor/connection.ts';
import { AgentTestEnvironment, VM } from '../agent-test-environment.ts';
import { report, result, toDestination } from './run-stage.ts';

describe('inspect', () => {
  it('lists all VMs when none is named', async () => {
    const environment = new AgentTestEnvironment();
    environment.fleet.addGuest('kvm-a', { name: 'db01' });
    const { domains } = await result(environment, 'inspect', { vm: undefined, fence: false });
    expect(domains?.map(({ name, state }) => [name, state])).toEqual([
      [VM, 'running'],
      ['db01', 'running'],
    ]);
  });

  it('proves a VM absent', async () => {
    const { evidence } = await result(new AgentTestEnvironment(), 'inspect', { ...toDestination, fence: false });
    expect(evidence).toEqual({ state: 'absent', detail: 'no such domain', jobActive: false, mover: 'not-asked' });
  });

  it('kills the mover first when asked, and waits until its job is gone', async () => {
    const environment = new AgentTestEnvironment();
    await environment.movers.start(environment.task('precopy'));
    await environment.clock.advance(1_000);
    const { evidence } = await result(environment, 'inspect', { fence: true });
    expect(evidence).toMatchObject({ state: 'running', jobActive: false, mover: 'killed' });
    expect((await result(environment, 'inspect', { fence: true }, 2)).evidence?.mover).toBe('none');
  });

  it('says so when a job does not go away', async () => {
    const environment = new AgentTestEnvironment();
    const connection = await connect(environment.fleet, 'kvm-a', 'qemu:///system');
    void connection.find(VM).then((domain) => domain?.begin({ name: VM, persistent: true }));
    const { evidence } = await result(environment, 'inspect', { fence: true });
    expect(evidence).toMatchObject({ jobActive: true, mover: 'none' });
  });

  it('gives no evidence when libvirt does not answer', async () => {
    const environment = new AgentTestEnvironment();
    environment.source.faults.set('connect', () => Promise.reject(new Error('no socket')));
    expect(await report(environment, 'inspect', { fence: false })).toMatchObject({
      failure: { code: 'HypervisorUnreachable' },
    });
  });
});
