import { seconds } from '../../common/units.ts';
import type { Forecast, Measurements } from '../../contract/forecast.ts';
import type { Policy } from '../../contract/policy.ts';
import { fail, pass, type Verdict } from '../checks/check.ts';
import { forecast } from './forecast.ts';

/**
 * Whether the forecast keeps the policy. If not, `found` is the reason, and the remedy names the smallest changes of the policy. Each
 * of them is sufficient by itself, because each was tried on the forecast.
 */
export function checkPolicy(forecasted: Forecast, policy: Policy, measured: Measurements): Verdict {
  const broken = brokenBy(forecasted, policy);
  if (broken === undefined) return pass(forecasted.why);
  const remedies = changesOf(forecasted, policy)
    .filter(({ change }) => {
      const changed = { ...policy, ...change };
      return brokenBy(forecast(measured, changed), changed) === undefined;
    })
    .map(({ words }) => words);
  return fail(
    `${broken}; ${forecasted.why}`,
    remedies.length > 0
      ? remedies.join(', or ')
      : 'move the VM when it writes less memory, or over a faster link: no change of one part of the policy would do',
  );
}

function brokenBy({ totalMs, blackoutMs, plan, convergence, storage }: Forecast, policy: Policy): string | undefined {
  const { blackoutBudgetMs, deadlineSeconds, onNonConvergence } = policy;
  if (plan.disks !== undefined && onNonConvergence === 'postcopy') {
    return 'disks are copied along, and then a post-copy is not possible';
  }
  if (storage?.ends === false) {
    return 'the guest writes to disks that are copied along nearly as fast as they can be copied, so that their copy would not end';
  }
  const converges = plan.method !== 'plain' || convergence === 'likely';
  // The fixed cost of a switch differs between hosts, so a budget is refused only when it cannot be kept for certain.
  const blackout = converges ? blackoutMs.low : blackoutMs.expected;
  if (onNonConvergence !== 'exceed' && blackout > blackoutBudgetMs) {
    const words = converges ? 'the blackout would be at least' : 'the copy does not converge: the blackout would be';
    return `${words} ${blackout} ms, the budget is ${blackoutBudgetMs} ms`;
  }
  if (totalMs.expected > deadlineSeconds * 1_000) {
    return `the copy would work for ${seconds(totalMs.expected)}, the deadline is ${deadlineSeconds} s`;
  }
  return undefined;
}

function changesOf(
  { totalMs, blackoutMs, plan }: Forecast,
  policy: Policy,
): { change: Partial<Policy>; words: string }[] {
  const changes: { change: Partial<Policy>; words: string }[] = [];
  const budget = upTo(blackoutMs.high, 10);
  const deadline = upTo(totalMs.high / 1_000, 1);
  if (budget > policy.blackoutBudgetMs && budget <= 60_000) {
    changes.push({ change: { blackoutBudgetMs: budget }, words: `a blackoutBudgetMs of ${budget}` });
  }
  if (deadline > policy.deadlineSeconds && deadline <= 86_400) {
    changes.push({ change: { deadlineSeconds: deadline }, words: `a deadlineSeconds of ${deadline}` });
  }
  if (!policy.autoConverge) {
    changes.push({ change: { autoConverge: true }, words: 'autoConverge (the guest is slowed while it is copied)' });
  }
  if (policy.onNonConvergence === 'postcopy') {
    changes.push({ change: { onNonConvergence: 'abort' }, words: 'onNonConvergence: abort' });
    changes.push({ change: { onNonConvergence: 'exceed' }, words: 'onNonConvergence: exceed' });
  } else if (plan.disks === undefined) {
    changes.push({ change: { onNonConvergence: 'postcopy' }, words: 'onNonConvergence: postcopy' });
  }
  if (policy.bandwidthMiBps > 0) {
    changes.push({ change: { bandwidthMiBps: 0 }, words: `no bandwidth limit (it is ${policy.bandwidthMiBps} MiB/s)` });
  }
  return changes;
}

const upTo = (value: number, step: number): number => Math.ceil(value / step) * step;
