import type { JsonObject } from '../../embedded-aws/core/service.ts';
import { MessageRelay } from '../clients/message-relay.ts';
import { run } from '../command.ts';
import { stateOn } from '../guest/domain-state.ts';
import { destroyGuest, guestStatus, startGuest } from '../guest/guests.ts';
import type { Lab } from '../hosts/lab.ts';
import { addressOf, type HostName } from '../hosts/plan.ts';
import type { ManagedLab } from '../managed-lab.ts';
import { blackhole, removeBlackhole } from './link-faults.ts';

/** A call to AWS, as an observer sees it. */
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

const PASS_ON: Observer = (_, next) => next();

/**
 * A lab and its control plane, with access to every place where faults are injected. A host's libvirt clients reach the other host
 * through a relay that parses libvirt's messages. The relay has an address of its own, so that it can be cut off together with the
 * other host while AWS stays reachable.
 */
export class FaultTestbed {
  readonly managed: ManagedLab;
  readonly relays: ReadonlyMap<HostName, MessageRelay>;
  readonly #cutFromAws = new Map<HostName, PromiseWithResolvers<void>>();
  #observer: Observer = PASS_ON;
  #guest: Guest | undefined;
  #guests = 0;

  private constructor(managed: ManagedLab, relays: ReadonlyMap<HostName, MessageRelay>) {
    this.managed = managed;
    this.relays = relays;
    managed.aws.intercept(async ({ service, operation, input, caller }, next) => {
      const host = this.lab.hosts.find((each) => caller.userId.endsWith(`:${managed.nodeIdOf(each)}`));
      const reachable = () => (host === undefined ? undefined : this.#cutFromAws.get(host)?.promise);
      // TCP sends a lost packet again once the link is back: the call, or its answer, is late and not lost.
      const late = async () => {
        await reachable();
        return next();
      };
      const answer = await this.#observer({ service, operation, input }, late);
      await reachable();
      return answer;
    });
  }

  /** Registers the hosts again, with their libvirt behind relays. */
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

  /** Stops the relays; the hosts cannot migrate to each other afterwards. */
  async stop(): Promise<void> {
    this.observe();
    this.managed.aws.intercept(undefined);
    for (const relay of this.relays.values()) await relay.stop();
  }

  get lab(): Lab {
    return this.managed.lab;
  }

  get guestAddress(): string {
    return `${this.lab.subnet}.101`;
  }

  /** The relay through which the other host reaches this host's libvirt. */
  relayTo(host: HostName): MessageRelay {
    return this.relays.get(host)!;
  }

  /** Passes every call to AWS through `observer`; without one, calls pass unobserved. Resets the relays' rules. */
  observe(observer: Observer = PASS_ON): void {
    this.#observer = observer;
    for (const relay of this.relays.values()) relay.rule();
  }

  /** The hosts no longer reach each other, on old and new connections. They still reach AWS, the disks and the guests' users. */
  async cutHostsLink(): Promise<void> {
    const [one, other] = this.lab.hosts as [HostName, HostName];
    await Promise.all(
      [one, other].map((host) =>
        blackhole(this.lab, host, [addressOf(this.lab, host === one ? other : one), relayAddress(this.lab)]),
      ),
    );
  }

  async restoreHostsLink(): Promise<void> {
    const addresses = [...this.lab.hosts.map((host) => addressOf(this.lab, host)), relayAddress(this.lab)];
    await Promise.all(this.lab.hosts.map((host) => removeBlackhole(this.lab, host, addresses)));
  }

  /** Neither the host's own calls nor SSM's commands get through. */
  async cutFromAws(host: HostName): Promise<void> {
    this.#cutFromAws.set(host, Promise.withResolvers());
    this.managed.aws.setNodeOnline(this.managed.nodeIdOf(host), false);
    await blackhole(this.lab, host, [addressOf(this.lab, 'machine')]);
  }

  async restoreAws(host: HostName): Promise<void> {
    await removeBlackhole(this.lab, host, [addressOf(this.lab, 'machine')]);
    this.managed.aws.setNodeOnline(this.managed.nodeIdOf(host), true);
    this.#cutFromAws.get(host)?.resolve();
    this.#cutFromAws.delete(host);
  }

  /** A guest that runs on one host and that the other host does not know: the last guest if it is unharmed, else a new one. */
  async readyGuest(): Promise<Guest> {
    if (this.#guest !== undefined) {
      const home = await this.#soleHome(this.#guest.name);
      if (home !== undefined) return { ...this.#guest, home };
      await this.dropGuest();
    }
    // A new name, because a VM whose migration ended with NEEDS_OPERATOR stays locked.
    const guest: Guest = { name: `web${++this.#guests}`, home: 'kvm1' };
    this.#guest = guest;
    // Small, so that a copy at the rate of the cases takes about four seconds.
    const size = { memoryMiB: 256, workingSetMiB: 64, dirtyMiBps: 8 };
    await startGuest(this.lab, guest.home, { name: guest.name, address: this.guestAddress, ...size });
    return guest;
  }

  /** Ends every copy of the guest; the next case gets a new guest. */
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
