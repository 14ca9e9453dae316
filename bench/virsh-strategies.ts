/**
 * How other systems migrate, driven through virsh: the flags they pass to libvirt and what they change during the job, all with their
 * default configuration.
 */
export interface VirshStrategy {
  /** Options of `virsh migrate` besides those of every strategy: --live --p2p --persistent --undefinesource. */
  args: readonly string[];
  /** Downtime limits set during the migration, each after so many seconds; without any, QEMU's default of 300 ms applies. */
  downtimeSteps?: readonly { afterSeconds: number; ms: number }[];
  /** After how long the system aborts the migration by itself. */
  abortAfterSeconds?: number;
  /** How often the system polls the job. */
  pollMs: number;
  /** The blackout that the system aims at. */
  budgetMs: number;
}

/** libvirt's defaults. */
const PLAIN = { pollMs: 500, budgetMs: 300 };

export const plain: VirshStrategy = { ...PLAIN, args: [] };
export const autoConverge: VirshStrategy = { ...PLAIN, args: ['--auto-converge'] };
export const postCopy: VirshStrategy = { ...PLAIN, args: ['--postcopy', '--postcopy-after-precopy'] };

/**
 * OpenStack Nova, nova/conf/libvirt.py: live_migration_downtime 500 ms in live_migration_downtime_steps 10 with
 * live_migration_downtime_delay 75 s, live_migration_completion_timeout 800 s with the action abort; delay and timeout are for each
 * GiB of memory and disk, of which at least 2 are counted. Neither auto-converge nor post-copy, no bandwidth limit, one
 * connection. The steps are those of downtime_steps in nova/virt/libvirt/migration.py; it looks every 0.5 s.
 */
export function nova(memoryGiB: number): VirshStrategy {
  const gib = Math.max(2, memoryGiB);
  const [most, steps, delay, timeout] = [500, 10, 75, 800];
  const first = most / steps;
  return {
    args: [],
    downtimeSteps: Array.from({ length: steps + 1 }, (_, step) => ({
      afterSeconds: Math.floor(delay * gib) * step,
      ms: Math.floor(first + ((most - first) / steps) * step),
    })),
    abortAfterSeconds: timeout * gib,
    pollMs: 500,
    budgetMs: most,
  };
}

/**
 * KubeVirt, pkg/virt-config/virt-config.go: completionTimeoutPerGiB 150 s (whole GiB of memory are counted, rounded up), then abort;
 * no post-copy, no auto-converge, no workload disruption, no bandwidth limit. 8 connections unless CPU is limited. QEMU's
 * downtime limit is left as it is. pkg/virt-launcher/virtwrap/live-migration-source.go looks every 0.4 s. Its other timeout,
 * progressTimeout 150 s, is begun anew whenever the remaining data becomes less, and so is not met here before the first.
 */
export function kubevirt(memoryGiB: number): VirshStrategy {
  return {
    args: ['--parallel', '--parallel-connections', '8'],
    abortAfterSeconds: 150 * Math.ceil(memoryGiB),
    pollMs: 400,
    budgetMs: 300,
  };
}
