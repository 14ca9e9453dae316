import type { JsonObject } from '../../embedded-aws/core/service.ts';
import { MessageRelay } from '../../test/lab/support/message-relay.ts';
import { stateOn } from '../../test/lab/support/moves.ts';
import { destroyGuest, guestStatus, startGuest } from '../guest/guests.ts';
import { run } from '../hosts/command.ts';
import type { Lab } from '../hosts/lab.ts';
import { addressOf, type HostName } from '../hosts/plan.ts';
import type { ManagedLab } from '../managed-lab.ts';
import { blackhole, lift } from './link-faults.ts';

/** A call to AWS, as whoever watches for a phase sees it. */
export interface AwsCall {
  service: string;
  operation: string;
  input: JsonObject;
}
export type Observer = (call: AwsCall, next: () => Promise<JsonObject>) => Promise<JsonObject>;

export interface Guest {
  name: string;
  home: HostName;
}

const SEE_NOTHING: Observer = (_, next) => next();

/**
 * Where faults are tried: a lab and its control plane, with every place the faults reach into. The way of a host's libvirt
 * clients to the other host leads through a relay that knows the messages, at an address of its own, so that it can be
 * cut together with the way between the hosts and apart from the way to AWS.
 */
export class FaultTestbed {
  readonly managed: ManagedLab;
  readonly relays: ReadonlyMap<HostName, MessageRelay>;
  readonly #cutFromAws = new Map<HostName, PromiseWithResolvers<void>>();
  #observer: Observer = SEE_NOTHING;
  #guest: Guest | undefined;
  #guests = 0;

  private constructor(managed: ManagedLab, relays: ReadonlyMap<HostName, MessageRelay>) {
    this.managed = managed;
    this.relays = relays;
    managed.aws.intercept(async ({ service, operation, input, caller }, next) => {
      const host = this.lab.hosts.find((each) => caller.userId.endsWith(`:${managed.nodeIdOf(each)}`));
      const way = () => (host === undefined ? undefined : this.#cutFromAws.get(host)?.promise);
      // A packet under way when the link failed is sent again when it is back: the call, or its answer, is late and not lost.
      const late = async () => {
        await way();
        return next();
      };
      const answer = await this.#observer({ service, operation, input }, late);
      await way();
      return answer;
    });
  }

  /** Registers the managed lab's hosts anew, with their libvirt behind relays. */
  static async on(managed: ManagedLab): Promise<FaultTestbed> {
    const { lab, api } = managed;
    await run(['ip', 'address', 'add', `${relayAddress(lab)}/24`, 'dev', lab.uplink]);
    const relays = new Map<HostName, MessageRelay>();
    for (const host of lab.hosts) {
      const relay = await MessageRelay.start(relayAddress(lab), addressOf(lab, host));
      relays.set(host, relay);
      const libvirtUri = `qemu+tcp://${relayAddress(lab)}:${relay.port}/system`;
      const body = { nodeId: managed.nodeIdOf(host), address: addressOf(lab, host), libvirtUri };
      await api.call('PUT', `/hosts/${host}`, { body });
    }
    return new FaultTestbed(managed, relays);
  }

  /** Leaves the managed lab without its relays; its hosts cannot migrate to each other any more. */
  async stop(): Promise<void> {
    this.watch();
    this.managed.aws.intercept(undefined);
    for (const relay of this.relays.values()) await relay.stop();
  }

  get lab(): Lab {
    return this.managed.lab;
  }

  get guestAddress(): string {
    return `${this.lab.subnet}.101`;
  }

  /** The relay through which others reach this host's libvirt. */
  relayTo(host: HostName): MessageRelay {
    return this.relays.get(host)!;
  }

  /** Shows every call to AWS to `observer` before it is made; without one, to nobody. */
  watch(observer: Observer = SEE_NOTHING): void {
    this.#observer = observer;
    for (const relay of this.relays.values()) relay.rule();
  }

  /** The hosts no longer reach each other, on any connection, old or new; AWS, the disks and the guests' users they do. */
  async cutBetweenHosts(): Promise<void> {
    const [one, other] = this.lab.hosts as [HostName, HostName];
    await Promise.all(
      [one, other].map((host) =>
        blackhole(this.lab, host, [addressOf(this.lab, host === one ? other : one), relayAddress(this.lab)]),
      ),
    );
  }

  async mendBetweenHosts(): Promise<void> {
    const addresses = [...this.lab.hosts.map((host) => addressOf(this.lab, host)), relayAddress(this.lab)];
    await Promise.all(this.lab.hosts.map((host) => lift(this.lab, host, addresses)));
  }

  /** Neither the host's own calls nor SSM's commands get through. */
  async cutFromAws(host: HostName): Promise<void> {
    this.#cutFromAws.set(host, Promise.withResolvers());
    this.managed.aws.setNodeOnline(this.managed.nodeIdOf(host), false);
    await blackhole(this.lab, host, [addressOf(this.lab, 'machine')]);
  }

  async mendToAws(host: HostName): Promise<void> {
    await lift(this.lab, host, [addressOf(this.lab, 'machine')]);
    this.managed.aws.setNodeOnline(this.managed.nodeIdOf(host), true);
    this.#cutFromAws.get(host)?.resolve();
    this.#cutFromAws.delete(host);
  }

  /** A guest that runs on one host and is known nowhere else: the last one if it is like that, or a new one. */
  async readyGuest(): Promise<Guest> {
    if (this.#guest !== undefined) {
      const home = await this.#soleHome(this.#guest.name);
      if (home !== undefined) return { ...this.#guest, home };
      await this.dropGuest();
    }
    // A name of its own: one that ended with NEEDS_OPERATOR stays locked.
    const guest: Guest = { name: `web${++this.#guests}`, home: 'kvm1' };
    this.#guest = guest;
    // Small, so that a copy at the rate of the cells takes about four seconds.
    const size = { memoryMiB: 256, workingSetMiB: 64, dirtyMiBps: 8 };
    await startGuest(this.lab, guest.home, { name: guest.name, address: this.guestAddress, ...size });
    return guest;
  }

  /** Ends the guest, wherever copies of it are; the next cell gets a new one. */
  async dropGuest(): Promise<void> {
    if (this.#guest !== undefined) await destroyGuest(this.lab, this.#guest.name);
    this.#guest = undefined;
  }

  async #soleHome(name: string): Promise<HostName | undefined> {
    const states = await Promise.all(this.lab.hosts.map((host) => stateOn(this.lab, host, name)));
    const known = this.lab.hosts.filter((_, index) => states[index] !== undefined);
    if (known.length !== 1 || !states.some((state) => state?.startsWith('running'))) return undefined;
    const status = await guestStatus(this.guestAddress).catch(() => undefined);
    return status !== undefined && status.diskErrors + status.patternErrors === 0 ? known[0] : undefined;
  }
}

const relayAddress = (lab: Lab): string => `${lab.subnet}.2`;
