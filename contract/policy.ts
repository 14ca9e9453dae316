import { z } from 'zod';

/**
 * What a migration may cost. Every field has a default, so an empty policy is a valid one.
 *
 * - `blackoutBudgetMs`: QEMU's downtime limit at the switch, in milliseconds. 300 is libvirt's and KubeVirt's default.
 * - `deadlineSeconds`: how long the copy may work, holds not counted.
 * - `onNonConvergence`: what to do when budget or deadline can't be kept, forecast or seen on the way. `abort` gives the copy up (the VM
 *   stays unharmed on its source), `exceed` goes past the blackout budget, `postcopy` lets the guest switch first and fetch the
 *   rest of its memory afterwards (from then on a lost network stops the guest until it is back).
 * - `autoConverge`: whether the guest's CPU may be throttled so that the copy converges.
 * - `cutover`: `automatic` switches as soon as the copy is held and it is this VM's turn; `manual` holds until the word comes
 *   (POST /migrations/{id}/cutover), so that many VMs can be copied first and then switched one after the other. A copy is held for
 *   as long as its result guarantees; a guest that converges after that switches without the word.
 * - `migrateStorage`: disks that only the source has are copied to the destination, before the memory. Otherwise a VM with such a disk is
 *   refused. Not together with `onNonConvergence: postcopy`.
 * - `bandwidthMiBps`: upper limit for the copy in MiB/s; 0 means as fast as the link allows.
 * - `heartbeatTimeoutSeconds`: recovery begins when the mover has not been heard of for this long. A mover reports every 2 s and holds for
 *   about a minute while AWS is away, so less than a minute gives up migrations that would have gone on.
 * - `queueTimeoutSeconds`: how long to wait for a free slot on both hosts before giving up.
 */
export const Policy = z.strictObject({
  blackoutBudgetMs: z.int().min(1).max(60_000).default(300),
  deadlineSeconds: z.int().min(5).max(86_400).default(3_600),
  onNonConvergence: z.enum(['postcopy', 'exceed', 'abort']).default('abort'),
  autoConverge: z.boolean().default(true),
  cutover: z.enum(['automatic', 'manual']).default('automatic'),
  migrateStorage: z.boolean().default(false),
  bandwidthMiBps: z.int().min(0).max(1_000_000).default(0),
  heartbeatTimeoutSeconds: z.int().min(10).max(3_600).default(60),
  queueTimeoutSeconds: z.int().min(0).max(86_400).default(600),
});
export type Policy = z.infer<typeof Policy>;
