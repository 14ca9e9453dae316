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
import { type Sight, sightOf } from './blackout-measurement.ts';

/** A guest at a dirty rate it was just set to is left alone for this long, and then watched at rest for this long. */
const REST_MS = 1_500;
const CALM_MS = 3_000;
/** After a move, for the gap and the announcement at its end to be seen whole. */
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
 * Two hosts whose migration link is held at one rate, and one guest, always in the same state before it is moved. Whoever
 * moves it, the same instruments look on from outside.
 */
export class BenchTestbed {
  readonly lab: Lab;
  readonly #link: MigrationLink;
  readonly #linkMiBps: number;
  #world: ManagedLab | undefined;
  #guest: { options: BenchGuest; at: HostName; bootId: string } | undefined;

  private constructor(lab: Lab, link: MigrationLink, linkMiBps: number) {
    this.lab = lab;
    this.#link = link;
    this.#linkMiBps = linkMiBps;
  }

  /** Runs `use` on a stand; whatever becomes of it, nothing of the stand is left. */
  static async with<T>(linkMiBps: number, use: (stand: BenchTestbed) => Promise<T>): Promise<T> {
    const lab = await upLab();
    try {
      const stand = new BenchTestbed(lab, await MigrationLink.between(lab, 'kvm1', 'kvm2'), linkMiBps);
      try {
        return await use(stand);
      } finally {
        await stand.#world?.stop();
      }
    } finally {
      await downLab(lab.name);
    }
  }

  /** The control plane, brought up when it is first asked for: who measures others alone does without. */
  async world(): Promise<ManagedLab> {
    this.#world ??= await startManagedLab(this.lab);
    return this.#world;
  }

  /** Ends the guest there is, if any, and starts another on kvm1. */
  async newGuest(options: Omit<BenchGuest, 'address'>): Promise<void> {
    if (this.#guest !== undefined) await destroyGuest(this.lab, this.#guest.options.name);
    this.#guest = undefined;
    const whole = { ...options, address: `${this.lab.subnet}.101` };
    await startGuest(this.lab, 'kvm1', whole);
    const { bootId } = await guestStatus(whole.address);
    this.#guest = { options: whole, at: 'kvm1', bootId };
  }

  /** Has the guest on that host, dirtying memory at that rate, with the link held; a guest elsewhere is brought there, idle. */
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

  /** Where the guest is, and where it would go. */
  get nextMove(): Move {
    const { options, at } = this.#required();
    return { guest: options.name, address: options.address, from: at, to: at === 'kvm1' ? 'kvm2' : 'kvm1' };
  }

  /** Has the guest moved by `move`, which tells whether it was. */
  async moved<T extends { moved: boolean }>(move: (move: Move) => Promise<T>): Promise<T> {
    const guest = this.#required();
    const wish = this.nextMove;
    const told = await move(wish);
    if (told.moved) guest.at = wish.to;
    await this.requireIntact();
    return told;
  }

  /** As `moved`, and says what that was like from outside. */
  async watched<T extends { moved: boolean }>(
    move: (move: Move) => Promise<T>,
  ): Promise<T & { sight: Sight; bytes: number; askedMs: number }> {
    const { address } = this.#required().options;
    const wish = this.nextMove;
    const [ping, requests, source, destination] = await Promise.all([
      startPing(this.lab, address),
      startRequests(this.lab, address),
      startEvents(this.lab, wish.from, wish.guest),
      startEvents(this.lab, wish.to, wish.guest),
    ]);
    const from = Date.now();
    await sleep(CALM_MS);
    const carried = await this.#link.carriedBytes();
    const began = Date.now();
    const notes = async () => {
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
    let told: T;
    try {
      told = await this.moved(move);
    } catch (error) {
      await notes();
      throw error;
    }
    const bytes = (await this.#link.carriedBytes()) - carried;
    const noted = await notes();
    return { ...told, sight: sightOf({ ...noted, calm: { from, until: began } }), bytes, askedMs: noted.until - began };
  }

  /** Rejects when a move did the guest harm. */
  async requireIntact(): Promise<GuestStatus> {
    const { options, bootId } = this.#required();
    const ask = () => guestStatus(options.address).catch(() => undefined);
    const status = await until('the guest answers', ask).catch(async (error: Error) => {
      throw new Error(`${error.message}; ${await this.#whereabouts()}`);
    });
    if (status.bootId !== bootId) throw new Error('the guest was started anew');
    const { patternErrors, diskErrors } = status;
    if (patternErrors + diskErrors > 0)
      throw new Error(`the guest is damaged: ${patternErrors} pages, ${diskErrors} ticks`);
    return status;
  }

  /** As requireIntact, after the guest has looked at every page of its working set once more. */
  async requireWholeSetIntact(): Promise<void> {
    const { workingSetMiB } = this.#required().options;
    const before = await this.requireIntact();
    const set = workingSetMiB * MIB;
    while ((await this.requireIntact()).checkedBytes - before.checkedBytes < set) await sleep(500);
  }

  /** What both hosts say of the guest, for whoever has to find out what became of it. */
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
