import { type Command, InvalidArgumentError, Option } from 'commander';
import { Policy } from '../contract/policy.ts';

export const whole = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('must be a whole number.');
  return value;
};

export interface PolicyOptions {
  blackout?: number;
  deadline?: number;
  onNonConvergence?: Policy['onNonConvergence'];
  /** From `--no-auto-converge`; true unless given. */
  autoConverge: boolean;
  cutover?: Policy['cutover'];
  bandwidth?: number;
  migrateStorage?: true;
  wait?: number;
}

/** The options that say what a move may cost; what is not given is left to the policy's defaults. */
export function withPolicy(command: Command): Command {
  const { onNonConvergence, cutover } = Policy.shape;
  return command
    .option('--blackout <ms>', 'downtime limit at the switch', whole)
    .option('--deadline <seconds>', 'how long the copy may work', whole)
    .addOption(
      new Option('--on-non-convergence <what>', 'what to do when blackout or deadline cannot be kept').choices(
        onNonConvergence.unwrap().options,
      ),
    )
    .option('--no-auto-converge', 'never slow the guest so that its copy converges')
    .addOption(
      new Option('--cutover <when>', 'switch as soon as copied, or on order (handoff cutover)').choices(
        cutover.unwrap().options,
      ),
    )
    .option('--migrate-storage', 'copy disks along that only the source has')
    .option('--bandwidth <MiB/s>', 'limit for the copy', whole)
    .option('--wait <seconds>', 'how long to wait for a free slot', whole);
}

export function policyOf(options: PolicyOptions): Partial<Policy> {
  const { blackout, deadline, onNonConvergence, autoConverge, cutover, bandwidth, migrateStorage, wait } = options;
  return {
    ...(blackout !== undefined && { blackoutBudgetMs: blackout }),
    ...(deadline !== undefined && { deadlineSeconds: deadline }),
    ...(onNonConvergence !== undefined && { onNonConvergence }),
    ...(!autoConverge && { autoConverge }),
    ...(cutover !== undefined && { cutover }),
    ...(migrateStorage && { migrateStorage }),
    ...(bandwidth !== undefined && { bandwidthMiBps: bandwidth }),
    ...(wait !== undefined && { queueTimeoutSeconds: wait }),
  };
}
