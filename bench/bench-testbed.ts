import { setTimeout as sleep } from 'node:timers/promises';
import { MIB } from '../common/units.ts';
import { startEvents } from '../lab/clients/domain-events.ts';
import { startPing } from '../lab/clients/ping-probe.ts';
import { startRequests } from '../lab/clients/requests.ts';
import {
  destroyGuest,
  type GuestOptions,
  type GuestStatus,
  guestStatus,
  plainVirsh,
  setDirtyRate,
  startGuest,
} from '../lab/guest/guests.ts';
import { downLab, type Lab, upLab } from '../lab/hosts/lab.ts';
import { MigrationLink } from '../lab/hosts/migration-link.ts';
import { exec } from '../lab/hosts/node.ts';
import type { HostName } from '../lab/hosts/plan.ts';
import { until } from '../lab/hosts/until.ts';
import { type ManagedLab, startManagedLab } from '../lab/managed-lab.ts';
import { type MoveMeasurement, measureMove } from './move-measurement.ts';

/** After its dirty rate was set, a guest is left alone for `REST_MS`, and then measured at rest for `CALM_MS`. */
const REST_MS = 1_500;
const CALM_MS = 3_000;
/** After a move, so that the gap and the announcement at its end are recorded whole. */
const AFTERMATH_MS = 1_200;

export interface Move {
  guest: string;
  address: string;
  from: HostName;
  to: HostName;
}

export interface BenchGuest extends GuestOptions {
  workingSetMiB: number;
}

/**
 * Two hosts whose migration link is held at one rate, and one guest, always in the same state before a move. The same
 * instruments measure every move from outside, whatever makes it.
 */
export class BenchTestbed {
  readonly lab: Lab;
  readonly #link: MigrationLink;
  readonly #linkMiBps: number;
  #managedLab: ManagedLab | undefined;
  #guest: { options: BenchGuest; at: HostName; bootId: string } | undefined;

  private constructor(lab: Lab, link: MigrationLink, linkMiBps: number) {
    this.lab = lab;
    this.#link = link;
    this.#linkMiBps = linkMiBps;
  }

  /** Runs `use` on a testbed, and removes the testbed afterwards, also on errors. */
  static async with<T>(linkMiBps: number, use: (testbed: BenchTestbed) => Promise<T>): Promise<T> {
    const lab = await upLab();
    try {
      const testbed = new BenchTestbed(lab, await MigrationLink.between(lab, 'kvm1', 'kvm2'), linkMiBps);
      try {
        return await use(testbed);
      } finally {
        await testbed.#managedLab?.stop();
      }
    } finally {
      await downLab(lab.name);
    }
  }

  /** The control plane, started at the first call: a bench of other systems alone does without it. */
  async managedLab(): Promise<ManagedLab> {
    this.#managedLab ??= await startManagedLab(this.lab);
    return this.#managedLab;
  }

  /** Destroys the present guest, if any, and starts another on kvm1. */
  async newGuest(options: Omit<BenchGuest, 'address'>): Promise<void> {
    if (this.#guest !== undefined) await destroyGuest(this.lab, this.#guest.options.name);
    this.#guest = undefined;
    const whole = { ...options, address: `${this.lab.subnet}.101` };
    await startGuest(this.lab, 'kvm1', whole);
    const { bootId } = await guestStatus(whole.address);
    this.#guest = { options: whole, at: 'kvm1', bootId };
  }

  /** Brings the guest to that host, idle, where it is elsewhere; then limits the link and sets the dirty rate. */
  async ready(home: HostName, dirtyMiBps: number): Promise<void> {
    const guest = this.#required();
    await setDirtyRate(guest.options.address, 0);
    if (guest.at !== home) {
      await this.#link.limit(undefined);
      await plainVirsh(this.lab, { from: guest.at, to: home, guest: guest.options.name });
      guest.at = home;
    }
    await this.#link.limit(this.#linkMiBps);
    await setDirtyRate(guest.options.address, dirtyMiBps);
    await sleep(REST_MS);
  }

  /** From where the guest is to the other host. */
  get nextMove(): Move {
    const { options, at } = this.#required();
    return { guest: options.name, address: options.address, from: at, to: at === 'kvm1' ? 'kvm2' : 'kvm1' };
  }

  /** Moves the guest by `move`, which returns whether it moved. */
  async moved<T extends { moved: boolean }>(move: (move: Move) => Promise<T>): Promise<T> {
    const guest = this.#required();
    const next = this.nextMove;
    const result = await move(next);
    if (result.moved) guest.at = next.to;
    await this.requireIntact();
    return result;
  }

  /** As `moved`, with measurements from outside. */
  async measured<T extends { moved: boolean }>(
    move: (move: Move) => Promise<T>,
  ): Promise<T & { measurement: MoveMeasurement; bytes: number; askedMs: number }> {
    const { address } = this.#required().options;
    const next = this.nextMove;
    const [ping, requests, source, destination] = await Promise.all([
      startPing(this.lab, address),
      startRequests(this.lab, address),
      startEvents(this.lab, next.from, next.guest),
      startEvents(this.lab, next.to, next.guest),
    ]);
    const from = Date.now();
    await sleep(CALM_MS);
    const carried = await this.#link.carriedBytes();
    const began = Date.now();
    const stopRecording = async () => {
      const over = Date.now();
      await sleep(AFTERMATH_MS);
      const [pinged, answers, left, arrived] = await Promise.all([
        ping.stop(),
        requests.stop(),
        source.stop(),
        destination.stop(),
      ]);
      return { pings: pinged.answeredAt, answers, source: left, destination: arrived, until: over };
    };
    let result: T;
    try {
      result = await this.moved(move);
    } catch (error) {
      await stopRecording();
      throw error;
    }
    const bytes = (await this.#link.carriedBytes()) - carried;
    const recorded = await stopRecording();
    return {
      ...result,
      measurement: measureMove({ ...recorded, calm: { from, until: began } }),
      bytes,
      askedMs: recorded.until - began,
    };
  }

  /** Rejects when a move harmed the guest. */
  async requireIntact(): Promise<GuestStatus> {
    const { options, bootId } = this.#required();
    const ask = () => guestStatus(options.address).catch(() => undefined);
    const status = await until('the guest answers', ask).catch(async (error: Error) => {
      throw new Error(`${error.message}; ${await this.#whereabouts()}`);
    });
    if (status.bootId !== bootId) throw new Error('the guest was rebooted');
    const { patternErrors, diskErrors } = status;
    if (patternErrors + diskErrors > 0)
      throw new Error(`the guest is damaged: ${patternErrors} pages, ${diskErrors} ticks`);
    return status;
  }

  /** As requireIntact, after the guest has checked every page of its working set once more. */
  async requireWholeSetIntact(): Promise<void> {
    const { workingSetMiB } = this.#required().options;
    const before = await this.requireIntact();
    const set = workingSetMiB * MIB;
    while ((await this.requireIntact()).checkedBytes - before.checkedBytes < set) await sleep(500);
  }

  /** The guest's state on both hosts, for the error message. */
  async #whereabouts(): Promise<string> {
    const { name } = this.#required().options;
    const states = this.lab.hosts.map(async (host) => {
      const { stdout, stderr } = await exec(this.lab, host, ['virsh', 'domstate', '--reason', name]);
      return `${host}: ${stdout.toString().trim() || stderr.trim()}`;
    });
    return (await Promise.all(states)).join(', ');
  }

  #required() {
    if (this.#guest === undefined) throw new Error('there is no guest yet');
    return this.#guest;
  }
}
