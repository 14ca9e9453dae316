import { afterAll, beforeAll, expect, it } from 'vitest';
import { runFaultCase } from '../../lab/faults/fault-case.ts';
import { FAULTS } from '../../lab/faults/fault-catalog.ts';
import { FaultTestbed } from '../../lab/faults/fault-testbed.ts';
import type { Phase } from '../../lab/faults/phases.ts';
import { sameCut } from '../../lab/faults/plain-virsh.ts';
import { describeWithManagedLab } from './support/describe-with-managed-lab.ts';

/** Cases of the fault matrix (docs/faults.md): one for each way to inject a fault and to detect a phase. */
describeWithManagedLab('faults', (its) => {
  let testbed: FaultTestbed;
  beforeAll(async () => {
    testbed = await FaultTestbed.on(its());
  });
  afterAll(() => testbed?.stop());

  it.each<[fault: string, phase: Phase, end: string, source: RegExp, destination: RegExp]>([
    ['destination-qemu', 'copying', 'FAILED', /^running/, /^absent/],
    ['hosts-link-2s', 'held', 'SUCCEEDED', /^absent/, /^running/],
    ['source-aws-2s', 'performed', 'FAILED', /^running/, /^absent/],
    ['source-libvirtd', 'committed', 'SUCCEEDED', /^absent/, /^running/],
    ['mover-stopped', 'committed', 'FAILED', /^running/, /^absent/],
    ['source-qemu', 'finished', 'SUCCEEDED', /^(absent|shut off)/, /^running/],
  ])(
    '%s at "%s" ends %s, with the VM running once',
    async (name, phase, status, source, destination) => {
      const fault = FAULTS.find((each) => each.name === name)!;
      const outcome = await runFaultCase(testbed, fault, phase);
      expect(outcome, JSON.stringify(outcome)).toMatchObject({
        status,
        states: { source: expect.stringMatching(source), destination: expect.stringMatching(destination) },
        doubleRunning: false,
        lost: false,
        truthful: true,
        leaks: [],
      });
      expect(outcome.note, 'the fault had a target').not.toMatch(/had ended|had no QEMU|was not reached/);
    },
    200_000,
  );

  it('the monitor sees the two running copies that plain virsh leaves when its connection is cut at Finish', async () => {
    const { plainVirsh, handoff } = await sameCut(testbed);
    expect(plainVirsh).toMatchObject({
      states: { source: expect.stringMatching(/^running/), destination: expect.stringMatching(/^running/) },
      doubleRunning: true,
    });
    expect(handoff).toMatchObject({ states: { source: 'absent' }, doubleRunning: false, diskErrors: 0 });
  }, 120_000);
});
