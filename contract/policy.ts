import { z } from 'zod';

/**
 * What a migration may cost, and what to do when it would cost more. Every field has a default, so an empty policy is valid.
 * docs/reference/policy.md is generated from the descriptions.
 */
export const Policy = z.strictObject({
  blackoutBudgetMs: z
    .int()
    .min(1)
    .max(60_000)
    .default(300)
    .describe(
      'The longest blackout users may feel at the switch, in milliseconds: from the last answer on the source to the first one on the ' +
        'destination. It is not the downtime limit of QEMU, which covers only the last pass of the copy; the limits are derived from ' +
        'it. The first limit is 20 ms. It rises only while passes do not shrink, to at most the budget less 120 ms, because stop, ' +
        'device state, commit, start and the first packet take time too, but at least half of the budget (180 of 300, 50 of 100). ' +
        '300 is the downtime limit of libvirt and KubeVirt.',
    ),
  deadlineSeconds: z
    .int()
    .min(5)
    .max(86_400)
    .default(3_600)
    .describe('How long the copy may be active, in seconds. The time a copy is held does not count.'),
  onNonConvergence: z
    .enum(['postcopy', 'exceed', 'abort'])
    .default('abort')
    .describe(
      'What to do when the blackout budget or the deadline cannot be kept, by the forecast or during the copy. `abort` ends the ' +
        'copy, and the VM stays unharmed on its source. `exceed` exceeds the blackout budget. `postcopy` switches the guest first ' +
        'and fetches the rest of its memory afterwards; until all memory is there, a lost network stops the guest.',
    ),
  autoConverge: z
    .boolean()
    .default(true)
    .describe("Whether QEMU may throttle the guest's CPU so that the copy converges."),
  cutover: z
    .enum(['automatic', 'manual'])
    .default('automatic')
    .describe(
      'When to switch. `automatic`: as soon as the copy is ready and a cutover slot is free. `manual`: when the cutover is requested, ' +
        'so that many VMs can be copied first and switched one after the other. A copy is held for as long as its result ' +
        'guarantees; a guest that converges after that switches without a request.',
    ),
  migrateStorage: z
    .boolean()
    .default(false)
    .describe(
      'Whether disks that only the source has are copied to the destination, before the memory. Otherwise a VM with such a disk is ' +
        'refused. Cannot be combined with `onNonConvergence: postcopy`.',
    ),
  bandwidthMiBps: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(0)
    .describe('Upper limit for the copy, in MiB/s. 0 means as fast as the link allows.'),
  heartbeatTimeoutSeconds: z
    .int()
    .min(10)
    .max(3_600)
    .default(60)
    .describe(
      'Recovery begins when the mover has not reported for this many seconds. A mover reports every 2 s, and holds for about a ' +
        'minute while AWS is out of reach; a smaller value gives up migrations that would have succeeded.',
    ),
  queueTimeoutSeconds: z
    .int()
    .min(0)
    .max(86_400)
    .default(600)
    .describe('How long to wait for a free slot on both hosts before the migration is refused, in seconds.'),
});
export type Policy = z.infer<typeof Policy>;
