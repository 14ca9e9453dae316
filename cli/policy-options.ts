import { type Command, InvalidArgumentError, Option } from 'commander';
import { Policy } from '../contract/policy.ts';

export const wholeNumber = (text: string): number => {
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

/** The options that make up the policy (contract/policy.ts); the API fills in the defaults of those not given. */
export function withPolicyOptions(command: Command): Command {
  const { onNonConvergence, cutover } = Policy.shape;
  const defaults = Policy.parse({});
  return command
    .option('--blackout <ms>', `longest blackout allowed; default: ${defaults.blackoutBudgetMs}`, wholeNumber)
    .option('--deadline <seconds>', `longest time to copy; default: ${defaults.deadlineSeconds}`, wholeNumber)
    .addOption(
      new Option(
        '--on-non-convergence <measure>',
        `what to do when blackout or deadline cannot be kept; default: ${defaults.onNonConvergence}`,
      ).choices(onNonConvergence.unwrap().options),
    )
    .option('--no-auto-converge', 'never throttle the guest’s CPU to make its copy converge')
    .addOption(
      new Option(
        '--cutover <when>',
        `switch as soon as copied, or when "handoff cutover" requests it; default: ${defaults.cutover}`,
      ).choices(cutover.unwrap().options),
    )
    .option('--migrate-storage', 'also copy disks that only the source has')
    .option('--bandwidth <MiB/s>', 'upper limit for the copy; default: none', wholeNumber)
    .option(
      '--wait <seconds>',
      `longest time to queue for a free slot; default: ${defaults.queueTimeoutSeconds}`,
      wholeNumber,
    );
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
