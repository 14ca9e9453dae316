import { LIMIT_SECONDS, type MigrationStrategy } from './migration-strategies.ts';

/** What a case takes besides the copy: the guest's way back, its rest, the measurements before and after. */
const AROUND_SECONDS = 10;
/** Preflight with its measurements, Verify and Settle. */
const CONTROL_PLANE_SECONDS = 5;
const THROTTLED_ITERATIONS = { steps: 20, computed: 4 };

/** Roughly how long a case will take, in seconds. `firstMiB` is sent in the first iteration, at most `setMiB` in each other. */
export function estimateSeconds(
  { name, convergesBy }: Pick<MigrationStrategy, 'name' | 'convergesBy'>,
  { rate, linkMiBps, firstMiB, setMiB }: { rate: number; linkMiBps: number; firstMiB: number; setMiB: number },
): number {
  const first = firstMiB / linkMiBps;
  const iteration = setMiB / linkMiBps;
  const rest = () => {
    if (rate < 1) return Math.min(LIMIT_SECONDS, (iteration * rate) / (1 - rate));
    switch (convergesBy) {
      case 'nothing':
        return LIMIT_SECONDS - first;
      case 'steps':
      case 'computed':
        return iteration * THROTTLED_ITERATIONS[convergesBy];
      case 'post-copy':
      case 'exceed':
        return iteration;
    }
  };
  return AROUND_SECONDS + (name.startsWith('handoff') ? CONTROL_PLANE_SECONDS : 0) + first + rest();
}
