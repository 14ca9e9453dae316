import { InterruptibleSleep } from '../../agent/mover/interruptible-sleep.ts';
import type { Clock } from '../../common/clock.ts';
import { MIB } from '../../common/units.ts';
import type { Copy, PostCopyJob } from './copy.ts';
import { libvirtError } from './errors.ts';
import type { SimulatedHost } from './host.ts';
import type { SimulatedNetwork } from './network.ts';
import { FINISH_MS, STALL_CHECK_MS, STREAM_TIMEOUT_MS } from './timings.ts';

/** One host's half of a post-copy. */
interface Half {
  host: SimulatedHost;
  copy: Copy;
}

/**
 * SIMULATED: a post-copy, from the moment the source stops: it sends the rest of the memory from one half of the VM to the other,
 * and sets the states of both halves as libvirt 11.3 did in the lab. It continues without a client: libvirt then reports the source's
 * half as failed, and ends it when all is sent. When the stream breaks, both halves stay.
 */
export class PostCopy implements PostCopyJob {
  readonly #clock: Clock;
  readonly #sleep: InterruptibleSleep;
  readonly #network: SimulatedNetwork;
  readonly #source: Half;
  readonly #target: Half;
  #state: 'sending' | 'broken' | 'whole' = 'sending';
  #restMs: number;
  #stalled = false;
  /** Whether a client waits to confirm. */
  #attended = true;
  #settled = Promise.withResolvers<void>();

  constructor(
    { clock, network }: { clock: Clock; network: SimulatedNetwork },
    source: Half,
    target: Half,
    { bytes, mibps }: { bytes: number; mibps: number },
  ) {
    this.#clock = clock;
    this.#sleep = new InterruptibleSleep(clock);
    this.#network = network;
    this.#source = source;
    this.#target = target;
    this.#restMs = Math.ceil((bytes / (mibps * MIB)) * 1_000);
    for (const { copy } of [source, target]) {
      copy.postCopy = this;
      copy.stream = () => this.break();
    }
    source.host.change(source.copy, 'postcopy-paused', 'paused (post-copy)');
    void this.#send();
  }

  get broken(): boolean {
    return this.#state === 'broken';
  }

  get whole(): boolean {
    return this.#state === 'whole';
  }

  async finish(): Promise<void> {
    const { host, copy } = this.#target;
    // From here on the daemon goes through with it, whatever becomes of its client.
    delete copy.preparedBy;
    await this.#clock.sleep(FINISH_MS);
    if (!present(this.#target)) throw libvirtError('the QEMU of the incoming copy has died');
    if (copy.state === 'incoming') {
      copy.runningSince = this.#clock.now();
      if (copy.guest.unannounced) copy.unheard = true;
      if (this.#state === 'whole') this.#runs();
      else if (this.#state === 'broken') host.change(copy, 'postcopy-failed', 'running (post-copy failed)');
      else host.change(copy, 'postcopy-running', 'running (post-copy)');
    }
    await this.#settled.promise;
    if (this.#state === 'broken')
      throw libvirtError("operation failed: job 'migration in' failed in post-copy phase", 9);
  }

  leave(): void {
    this.#attended = false;
    this.#sourceFails();
  }

  async confirmed(): Promise<void> {
    await this.#settled.promise;
    if (this.#state === 'broken')
      throw libvirtError("operation failed: job 'migration out' failed in post-copy phase", 9);
  }

  break(): void {
    if (this.#state !== 'sending') return;
    this.#state = 'broken';
    this.#sourceFails();
    const { host, copy } = this.#target;
    if (present(this.#target) && copy.state === 'postcopy-running') {
      host.change(copy, 'postcopy-failed', 'running (post-copy failed)');
    }
    this.#settled.resolve();
    this.#sleep.interrupt();
  }

  resume(): void {
    this.#state = 'sending';
    this.#attended = true;
    this.#settled = Promise.withResolvers<void>();
    this.#source.host.change(this.#source.copy, 'postcopy-paused', 'paused (post-copy)');
    this.#target.host.change(this.#target.copy, 'postcopy-running', 'running (post-copy)');
    void this.#send();
  }

  async #send(): Promise<void> {
    const ends = [this.#source.host.spec.hostId, this.#target.host.spec.hostId] as const;
    const stall = (up: boolean) => {
      this.#stalled = !up;
      this.#sleep.interrupt();
    };
    stall(this.#network.isUp(...ends));
    const forget = [
      this.#network.onChange(...ends, stall),
      this.#network.onSilence(
        ...ends,
        () => STREAM_TIMEOUT_MS,
        () => this.break(),
      ),
    ];
    while (this.#state === 'sending' && (this.#restMs > 0 || this.#stalled)) {
      const at = this.#clock.now();
      const sending = !this.#stalled;
      await this.#sleep.for(sending ? this.#restMs : STALL_CHECK_MS);
      if (sending) this.#restMs -= this.#clock.now() - at;
    }
    for (const end of forget) end();
    if (this.#state === 'sending') this.#whole();
  }

  #whole(): void {
    this.#state = 'whole';
    const { copy } = this.#target;
    delete this.#source.copy.stream;
    delete copy.stream;
    if (copy.state === 'postcopy-running') this.#runs();
    if (!this.#attended && present(this.#source)) {
      delete this.#source.copy.outgoing;
      this.#source.host.end(this.#source.copy, 'shut off (migrated)');
    }
    this.#settled.resolve();
  }

  #runs(): void {
    const { host, copy } = this.#target;
    delete copy.postCopy;
    host.change(copy, 'running', 'running (migrated)');
  }

  #sourceFails(): void {
    const { host, copy } = this.#source;
    if (present(this.#source) && copy.state === 'postcopy-paused') {
      host.change(copy, 'postcopy-failed', 'paused (post-copy failed)');
    }
  }
}

const present = ({ host, copy }: Half): boolean =>
  host.copies.get(copy.guest.name) === copy && copy.state !== 'shutoff';
