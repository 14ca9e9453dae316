/**
 * Steering on real copies: a guest that dirties memory faster than its link carries it, and the answers a policy allows.
 *
 * With HANDOFF_RECORD set, all cases run and what libvirt said on the way is written to test/fixtures/copies, for the replay test.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { forecast } from '../../agent/convergence/forecast.ts';
import { connectLibvirt } from '../../agent/libvirt/connect.ts';
import { MIB } from '../../common/units.ts';
import type { Plan } from '../../contract/forecast.ts';
import { Policy } from '../../contract/policy.ts';
import { destroyGuest, type GuestStatus, guestStatus, setDirtyRate, startGuest } from '../../lab/guest/guests.ts';
import { MigrationLink } from '../../lab/hosts/migration-link.ts';
import { libvirtUriOf } from '../../lab/hosts/plan.ts';
import { until } from '../../lab/hosts/until.ts';
import { recordingOf } from '../unit/agent/convergence/recording.ts';
import { type CopyOutcome, copyAlone } from './support/copies.ts';
import { describeWithLab, guestAddress } from './support/describe-with-lab.ts';

const LINK_MIBPS = 60;
const guest = { name: 'steered', memoryMiB: 512, workingSetMiB: 200, dirtyMiBps: 0 };
/** What the guest can dirty with all of its CPU (guest.c). */
const FLAT_OUT_MIBPS = 400;
const FIXTURES = new URL('../fixtures/copies/', import.meta.url);
const RECORDING = process.env.HANDOFF_RECORD !== undefined;

interface Case {
  name: string;
  /** Dirtied a second, as a multiple of the link's rate, from before the copy; and from the release on, if otherwise. */
  rate: number;
  later?: number;
  policy: Partial<Policy>;
  expected: (outcome: CopyOutcome) => void;
  /** Only where all are recorded: what it shows, another case or a unit test shows as well. */
  recordedOnly?: true;
}

const decided = ({ decisions }: CopyOutcome): string[] => decisions.map(({ event }) => event);
/** What QEMU was allowed, not what a busy machine made of it. */
const switchedWithin = (outcome: CopyOutcome, budgetMs = 300) => {
  expect(outcome).toMatchObject({ end: 'switched' });
  for (const { detail } of outcome.decisions) expect(Number(detail.limitMs ?? 0)).toBeLessThanOrEqual(budgetMs);
};

const CASES: Case[] = [
  {
    name: 'easy',
    rate: 0.2,
    policy: {},
    expected: (outcome) => {
      switchedWithin(outcome);
      expect(decided(outcome)).toEqual([]);
    },
    recordedOnly: true,
  },
  {
    name: 'slow',
    rate: 0.8,
    policy: { autoConverge: false },
    expected: (outcome) => {
      switchedWithin(outcome);
      expect(decided(outcome)).toContain('downtime limit raised');
    },
    recordedOnly: true,
  },
  {
    name: 'throttled',
    rate: 1.5,
    policy: {},
    expected: (outcome) => {
      switchedWithin(outcome);
      expect(decided(outcome)).toContain('guest throttled');
    },
  },
  {
    name: 'throttled-3',
    rate: 3,
    policy: {},
    expected: (outcome) => switchedWithin(outcome),
    recordedOnly: true,
  },
  {
    name: 'changed-postcopy',
    rate: 0.2,
    later: 1.5,
    policy: { onNonConvergence: 'postcopy' },
    expected: (outcome) => {
      expect(outcome).toMatchObject({ end: 'switched' });
      expect(decided(outcome)).toContain('post-copy');
    },
  },
  {
    name: 'changed-throttled',
    rate: 0.2,
    later: 1.5,
    policy: {},
    expected: (outcome) => {
      switchedWithin(outcome);
      expect(decided(outcome)).toContain('guest throttled');
    },
    recordedOnly: true,
  },
  {
    name: 'exceeded',
    rate: 1.5,
    policy: { autoConverge: false, onNonConvergence: 'exceed' },
    expected: (outcome) => {
      expect(outcome).toMatchObject({ end: 'switched' });
      expect(outcome.downtimeMs).toBeGreaterThan(300);
      expect(outcome.decisions.at(-1)!.detail).toMatchObject({ because: expect.stringContaining('no net progress') });
    },
    recordedOnly: true,
  },
  {
    name: 'late',
    rate: 1.5,
    policy: { autoConverge: false, deadlineSeconds: 10 },
    expected: (outcome) => {
      expect(outcome).toMatchObject({ end: 'failed', why: expect.stringContaining('the deadline of 10 s is over') });
      expect(decided(outcome).at(-1)).toBe('given up');
    },
  },
  {
    name: 'stalled',
    rate: 1.5,
    policy: { autoConverge: false },
    expected: (outcome) => {
      expect(outcome).toMatchObject({ end: 'failed', why: expect.stringContaining('no net progress') });
    },
    recordedOnly: true,
  },
];

describeWithLab('steering', (lab) => {
  let before: GuestStatus;
  let address: string;

  beforeAll(async () => {
    const link = await MigrationLink.between(lab(), 'kvm1', 'kvm2');
    await link.limit(LINK_MIBPS);
  });

  beforeEach(async () => {
    address = guestAddress(lab());
    await startGuest(lab(), 'kvm1', { ...guest, address });
    before = await guestStatus(address);
  });

  afterEach(() => destroyGuest(lab(), guest.name));

  it.each(CASES.filter(({ recordedOnly }) => RECORDING || !recordedOnly))('$name', async (each) => {
    const { name, rate, later, expected } = each;
    const policy = Policy.parse({ deadlineSeconds: 100, ...each.policy });
    await setDirtyRate(address, rate * LINK_MIBPS);
    const plan = planFor(rate, policy);
    const outcome = await copyAlone(lab(), {
      vm: guest.name,
      from: 'kvm1',
      to: 'kvm2',
      plan,
      policy,
      ...(later !== undefined && { onReleased: () => setDirtyRate(address, later * LINK_MIBPS) }),
    });
    if (RECORDING) await record({ name, rate, ...(later !== undefined && { later }), policy, plan, outcome });
    expected(outcome);

    await setDirtyRate(address, 0);
    const after = await until('the guest answers', () => guestStatus(address).catch(() => undefined));
    expect(after).toMatchObject({ bootId: before.bootId, patternErrors: 0, diskErrors: 0 });
    const host = outcome.end === 'switched' ? 'kvm2' : 'kvm1';
    expect(await stateOn(host)).toBe('running');
  });

  async function stateOn(host: 'kvm1' | 'kvm2'): Promise<string | undefined> {
    const hypervisor = await connectLibvirt(libvirtUriOf(lab(), host));
    try {
      return (await (await hypervisor.find(guest.name))?.state())?.state;
    } finally {
      await hypervisor.close();
    }
  }
});

/** What would be chosen had the guest been measured without any error. */
function planFor(rate: number, policy: Policy): Plan {
  return forecast(
    {
      dirtyBytesPerSecond: rate * LINK_MIBPS * MIB,
      workingSetBytes: guest.workingSetMiB * MIB,
      memoryBytes: guest.memoryMiB * MIB,
      residentBytes: 280 * MIB,
      cpuUse: 0.08 + (rate * LINK_MIBPS) / FLAT_OUT_MIBPS,
      linkBytesPerSecond: LINK_MIBPS * MIB,
      linkSource: 'known',
      linkAgeSeconds: 0,
      roundTripMs: 0.1,
      supportsAvailSwitchoverBandwidth: true,
    },
    policy,
  ).plan;
}

async function record(each: {
  name: string;
  rate: number;
  later?: number;
  policy: Policy;
  plan: Plan;
  outcome: CopyOutcome;
}): Promise<void> {
  const { name, outcome, ...circumstances } = each;
  await mkdir(FIXTURES, { recursive: true });
  const text = recordingOf({ ...circumstances, linkMiBps: LINK_MIBPS, workingSetMiB: guest.workingSetMiB }, outcome);
  await writeFile(new URL(`${name}.json`, FIXTURES), text);
}
