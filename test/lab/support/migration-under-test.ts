import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { getMigration } from '../../../cli/follow-migration.ts';
import type { MigrationStatus, MigrationView, TimelineEvent } from '../../../contract/api.ts';
import type { Policy } from '../../../contract/policy.ts';
import { ended, reaches, request } from '../../../lab/clients/migrations.ts';
import { DomainStateMonitor } from '../../../lab/faults/domain-state-monitor.ts';
import type { FaultTestbed } from '../../../lab/faults/fault-testbed.ts';
import { leaksOf } from '../../../lab/faults/leaks.ts';
import { stateOn } from '../../../lab/guest/domain-state.ts';
import { type GuestStatus, guestStatus } from '../../../lab/guest/guests.ts';
import { exec } from '../../../lab/hosts/node.ts';
import type { HostName } from '../../../lab/hosts/plan.ts';
import { until } from '../../../lab/hosts/until.ts';
import type { LeapingClock } from './leaping-clock.ts';

/** AWS's clock is put forward in small steps, so that functions (of 30 s at most) end in time on a busy machine. */
const STEP_SECONDS = 5;
const STEP_MS = 100;
const HOLDS_TRIED = 3;

/** One migration of the testbed's guest: starts it, monitors it, and checks the state of everything at its end. */
export class MigrationUnderTest {
  readonly id: string;
  readonly vm: string;
  readonly from: HostName;
  readonly to: HostName;
  readonly #testbed: FaultTestbed;
  readonly #clock: LeapingClock;
  readonly #before: GuestStatus;
  readonly #monitor: DomainStateMonitor;

  private constructor(
    testbed: FaultTestbed,
    clock: LeapingClock,
    move: { id: string; vm: string; from: HostName; to: HostName; before: GuestStatus },
  ) {
    this.#testbed = testbed;
    this.#clock = clock;
    this.id = move.id;
    this.vm = move.vm;
    this.from = move.from;
    this.to = move.to;
    this.#before = move.before;
    this.#monitor = new DomainStateMonitor(testbed.lab, move.vm, move, () => {});
  }

  /** Requests a migration of the guest to the other host; its copy takes some seconds. */
  static async start(
    testbed: FaultTestbed,
    clock: LeapingClock,
    policy: Partial<Policy> = {},
  ): Promise<MigrationUnderTest> {
    const { name: vm, home: from } = await testbed.readyGuest();
    const to: HostName = from === 'kvm1' ? 'kvm2' : 'kvm1';
    const before = await guestStatus(testbed.guestAddress);
    const id = await request(testbed.managed, { vm, from, to, policy: { bandwidthMiBps: 32, ...policy } });
    return new MigrationUnderTest(testbed, clock, { id, vm, from, to, before });
  }

  /**
   * Starts a migration whose copy is held until its cutover is requested. On a busy machine a guest with little work may be copied
   * completely before the hold, and switches by itself: then another migration is started.
   */
  static async startHeld(testbed: FaultTestbed, clock: LeapingClock): Promise<MigrationUnderTest> {
    for (let attempt = 1; ; attempt++) {
      const migration = await MigrationUnderTest.start(testbed, clock, { cutover: 'manual' });
      const view = await migration.reaches(
        'is held',
        ({ status, timeline, result }) =>
          result?.precopy === 'completed' || (status === 'HELD' && count(timeline, 'precopy succeeded') > 0),
      );
      if (view.endedAt === undefined || attempt === HOLDS_TRIED) return migration;
      await migration.stopMonitor();
    }
  }

  show(): Promise<MigrationView> {
    return getMigration(this.#testbed.managed.api, this.id);
  }

  /** Follows the migration until `is` holds; fails when it has ended before. */
  reaches(what: string, is: (view: MigrationView) => boolean): Promise<MigrationView> {
    return reaches(this.#testbed.managed, this.id, what, is);
  }

  copies(): Promise<MigrationView> {
    return this.reaches('copies', ({ progress }) => progress?.phase === 'copying');
  }

  async moverRuns(): Promise<boolean> {
    return (await exec(this.#testbed.lab, this.from, ['pgrep', '-f', `mover ${this.id}\\.`])).exitCode === 0;
  }

  async killMover(): Promise<void> {
    const { exitCode } = await exec(this.#testbed.lab, this.from, ['pkill', '-KILL', '-f', `mover ${this.id}\\.`]);
    expect(exitCode, 'there was a mover to kill').toBe(0);
  }

  /** StopExecution, as from the console; of the current execution, if none is named. */
  async stopExecution(named?: string): Promise<void> {
    const { aws } = this.#testbed.managed;
    const executionArn = named ?? (await this.show()).executionArn;
    await aws.callAws('states', 'StopExecution', { executionArn, cause: 'stopped by hand' }, aws.adminCaller);
  }

  /**
   * Puts AWS's clock forward until `ask` answers, except while a host works on a short stage, which takes real time. `silent` is the
   * host from which no answer is expected.
   */
  async timePasses<T>(
    what: string,
    ask: (view: MigrationView) => T | Promise<T>,
    silent?: 'source' | 'destination' | 'both',
  ): Promise<Exclude<T, false | null | undefined>> {
    return until(
      `${this.id}: ${what}`,
      async () => {
        const view = await this.show();
        const answer = await ask(view);
        if (answer) return answer;
        const asked = (['source', 'destination'] as const).filter((role) => silent !== role && silent !== 'both');
        if (!asked.some((role) => isAtWork(view.timeline, role))) this.#clock.leap(STEP_SECONDS);
        await sleep(STEP_MS);
        return undefined;
      },
      { timeoutMs: 120_000 },
    ).catch(async (error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(await this.show(), undefined, 1)}`);
    });
  }

  /** Expects this end; the VM runs once, with its memory, and never ran twice; nothing is still held, and no mover is left. */
  async isSettled(expected: {
    status: MigrationStatus;
    runsOn: HostName;
    [field: string]: unknown;
  }): Promise<MigrationView> {
    const { managed, lab, guestAddress } = this.#testbed;
    const view = await ended(managed, this.id);
    expect(view, JSON.stringify(view, undefined, 1)).toMatchObject(expected);
    const other = view.runsOn === this.from ? this.to : this.from;
    expect(await stateOn(lab, expected.runsOn, this.vm)).toMatch(/^running/);
    await until(`nothing of ${this.vm} is on ${other}`, async () => (await stateOn(lab, other, this.vm)) === undefined);
    const now = await until('the guest answers', () => guestStatus(guestAddress).catch(() => undefined));
    expect(now).toMatchObject({ bootId: this.#before.bootId, patternErrors: 0, diskErrors: 0 });
    expect(now.ticks).toBeGreaterThan(this.#before.ticks);
    await until('nothing is held', async () => (await leaksOf(managed, view)).length === 0);
    await until('no mover is left', async () => !(await this.moverRuns()));
    await this.stopMonitor();
    expect(this.#monitor.doubles, JSON.stringify(this.#monitor.history)).toBe(0);
    return view;
  }

  stopMonitor(): Promise<void> {
    return this.#monitor.stop();
  }
}

export const count = (timeline: readonly TimelineEvent[], event: string): number =>
  timeline.filter((entry) => entry.event === event).length;

/** Whether the role's host was given a short stage that it has not answered. */
function isAtWork(timeline: readonly TimelineEvent[], role: 'source' | 'destination'): boolean {
  const of = (end: string) =>
    timeline.filter(
      ({ event, detail }) => /^(inspect|abort) /.test(event) && event.endsWith(end) && detail?.role === role,
    );
  return of(' task sent').length > of(' succeeded').length + of(' failed').length;
}
