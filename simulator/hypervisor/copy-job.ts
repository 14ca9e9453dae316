import { MAX_THROTTLE, TOO_DIRTY, TOO_DIRTY_PASSES, writesLeft } from '../../agent/convergence/auto-converge.ts';
import type { JobStats, MigrationOptions } from '../../agent/hypervisor.ts';
import { InterruptibleSleep } from '../../agent/mover/interruptible-sleep.ts';
import type { Clock } from '../../common/clock.ts';
import { MIB } from '../../common/units.ts';
import { STALL_CHECK_MS } from './timings.ts';

/** What QEMU needs to stop, hand over and start, however little is left to copy. */
const SWITCH_MS = 20;
/** libvirt's own downtime limit, before anybody sets another. */
const DEFAULT_DOWNTIME_MS = 300;

export interface Load {
  memoryMiB: number;
  /** Speed at which the guest writes memory, and how much memory it writes again and again. */
  dirtyMiBps: number;
  workingSetMiB: number;
}

/** A disk that is copied before the memory, at most so fast; 0: as the link allows. */
export interface DiskCopy {
  bytes: number;
  limitMiBps: number;
}

/** Of a job that has sent none. */
export const NO_MEMORY_YET = {
  bytesTotal: 0,
  bytesProcessed: 0,
  bytesRemaining: 0,
  bytesPerSecond: 0,
  dirtyBytesPerSecond: 0,
  iteration: 0,
};

export interface CopyOptions {
  throttle?: MigrationOptions['throttle'];
  disk?: DiskCopy;
}

/** What a guest needs of its vCPUs. */
export const CPU_USE = 0.1;

/**
 * SIMULATED: QEMU's pre-copy, computed. An iteration sends what is left at the allowed speed; what the guest writes meanwhile (at
 * its rate, at most its working set) is sent in the next iteration. The guest is paused when the rest fits into the downtime limit.
 * With auto-converge the guest is slowed when passes were too dirty, and more when they still are. Storage is migrated
 * before memory; what the guest writes to its disk meanwhile is mirrored at no cost.
 */
export class CopyJob {
  readonly #clock: Clock;
  readonly #sleep: InterruptibleSleep;
  readonly #load: Load;
  readonly #linkMiBps: number;
  readonly #begunAt: number;
  #at: number;
  #speedMiBps = 0;
  #downtimeLimitMs = DEFAULT_DOWNTIME_MS;
  #remaining: number;
  #processed = 0;
  #dirty = 0;
  #iteration = 1;
  #stalled = false;
  #ended: Error | undefined;
  #downtimeMs: number | undefined;
  #postCopy = false;
  readonly #throttle: MigrationOptions['throttle'];
  #throttlePercent = 0;
  #passBytes: number;
  #tooDirty = 0;
  #disk: (DiskCopy & { remaining: number }) | undefined;

  constructor(clock: Clock, load: Load, linkMiBps: number, { throttle, disk }: CopyOptions = {}) {
    this.#clock = clock;
    this.#sleep = new InterruptibleSleep(clock);
    this.#load = load;
    this.#linkMiBps = linkMiBps;
    this.#begunAt = clock.now();
    this.#at = clock.now();
    this.#remaining = load.memoryMiB * MIB;
    this.#passBytes = this.#remaining;
    this.#throttle = throttle;
    this.#disk = disk && { ...disk, remaining: disk.bytes };
  }

  /**
   * Resolves when the guest is paused and everything is sent, except the rest of a post-copy; rejects with the reason when the job is
   * ended before.
   */
  async run(): Promise<'all' | 'post-copy'> {
    for (;;) {
      this.#advance();
      if (this.#ended !== undefined) throw this.#ended;
      if (this.#postCopy) return 'post-copy';
      if (this.#stalled) {
        await this.#sleep.for(STALL_CHECK_MS);
        continue;
      }
      if (this.#disk !== undefined && this.#disk.remaining > 0) {
        await this.#sleep.for(Math.max(1, Math.ceil((this.#disk.remaining / this.#diskRate()) * 1_000)));
        continue;
      }
      const rest = this.#remaining + this.#dirty;
      if (this.#remaining === 0 || rest <= this.#threshold()) {
        if (rest <= this.#threshold()) {
          await this.#switch(rest);
          return 'all';
        }
        this.#slow();
        this.#remaining = this.#dirty;
        this.#passBytes = this.#dirty;
        this.#dirty = 0;
        this.#iteration += 1;
      }
      await this.#sleep.for(Math.max(1, Math.ceil((this.#remaining / this.#rate()) * 1_000)));
    }
  }

  /** The guest stops, and what is not there yet is sent afterwards. A copy that is about to end by itself does. */
  startPostCopy(): void {
    this.#advance();
    if (this.#downtimeMs !== undefined) return;
    this.#postCopy = true;
    this.#remaining = Math.min(this.#load.memoryMiB * MIB, this.#remaining + this.#dirty);
    this.#dirty = 0;
    this.#sleep.interrupt();
  }

  /** What a post-copy has left to send, and how fast it goes. */
  get rest(): { bytes: number; mibps: number } {
    return { bytes: this.#remaining, mibps: this.#linkMiBps };
  }

  end(reason: Error): void {
    this.#ended ??= reason;
    this.#sleep.interrupt();
  }

  /** While its stream is stalled nothing is sent. */
  stall(stalled: boolean): void {
    this.#advance();
    this.#stalled = stalled;
    this.#sleep.interrupt();
  }

  limitSpeed(mibps: number): void {
    this.#advance();
    this.#speedMiBps = mibps;
    this.#sleep.interrupt();
  }

  limitDowntime(ms: number): void {
    this.#downtimeLimitMs = ms;
    this.#sleep.interrupt();
  }

  stats(): JobStats {
    this.#advance();
    const common = { operation: 'migration-out' as const, elapsedMs: this.#clock.now() - this.#begunAt };
    const disks = this.#disk && {
      bytesTotal: this.#disk.bytes,
      bytesProcessed: this.#disk.bytes - this.#disk.remaining,
      bytesRemaining: this.#disk.remaining,
    };
    if (disks !== undefined && disks.bytesRemaining > 0) return { ...common, ...NO_MEMORY_YET, disks };
    return {
      ...common,
      ...(disks && { disks }),
      bytesTotal: this.#load.memoryMiB * MIB,
      bytesProcessed: Math.round(this.#processed),
      bytesRemaining: Math.round(this.#remaining),
      bytesPerSecond: this.#downtimeMs === undefined && !this.#stalled ? this.#rate() : 0,
      dirtyBytesPerSecond: this.#dirtyRate(),
      iteration: this.#iteration,
      throttlePercent: this.#throttlePercent,
      ...(this.#downtimeMs !== undefined && { downtimeMs: this.#downtimeMs }),
    };
  }

  async #switch(rest: number): Promise<void> {
    this.#processed += rest;
    this.#remaining = 0;
    // QEMU lifts the speed limit for the last part.
    this.#downtimeMs = Math.round((rest / (this.#linkMiBps * MIB)) * 1_000) + SWITCH_MS;
    await this.#clock.sleep(this.#downtimeMs);
    this.#at = this.#clock.now();
    while (this.#stalled && this.#ended === undefined) await this.#sleep.for(STALL_CHECK_MS);
    if (this.#ended !== undefined) throw this.#ended;
  }

  #advance(): void {
    const seconds = (this.#clock.now() - this.#at) / 1_000;
    this.#at = this.#clock.now();
    if (this.#downtimeMs !== undefined) return;
    if (this.#disk !== undefined && this.#disk.remaining > 0) {
      const copied = this.#stalled ? 0 : Math.round(this.#diskRate() * seconds);
      this.#disk.remaining = Math.max(0, this.#disk.remaining - copied);
      return;
    }
    const moved = this.#stalled ? 0 : Math.min(this.#remaining, this.#rate() * seconds);
    this.#remaining -= moved;
    this.#processed += moved;
    this.#dirty = Math.min(this.#load.workingSetMiB * MIB, this.#dirty + this.#dirtyRate() * seconds);
  }

  #dirtyRate(): number {
    return this.#load.dirtyMiBps * writesLeft(this.#throttlePercent, CPU_USE) * MIB;
  }

  /** At the end of a pass. */
  #slow(): void {
    if (this.#throttle === undefined) return;
    this.#tooDirty = this.#dirty > this.#passBytes * TOO_DIRTY ? this.#tooDirty + 1 : 0;
    if (this.#tooDirty < TOO_DIRTY_PASSES) return;
    this.#tooDirty = 0;
    const { initialPercent, incrementPercent } = this.#throttle;
    const more = this.#throttlePercent === 0 ? initialPercent : this.#throttlePercent + incrementPercent;
    this.#throttlePercent = Math.min(more, MAX_THROTTLE);
  }

  #rate(): number {
    return (this.#speedMiBps === 0 ? this.#linkMiBps : Math.min(this.#speedMiBps, this.#linkMiBps)) * MIB;
  }

  #diskRate(): number {
    const limit = this.#disk?.limitMiBps ?? 0;
    return (limit === 0 ? this.#linkMiBps : Math.min(limit, this.#linkMiBps)) * MIB;
  }

  #threshold(): number {
    return (this.#rate() * this.#downtimeLimitMs) / 1_000;
  }
}
