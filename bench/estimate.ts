import { LIMIT_SECONDS, type Way } from './strategies.ts';

/** What a case takes besides the copy: bringing the guest back, rest, watching it before and after. */
const AROUND_SECONDS = 10;
/** Preflight with its measurements, verify, and settling. */
const CONTROL_PLANE_SECONDS = 5;
const THROTTLED_PASSES = { steps: 20, computed: 4 };

/** Roughly how long a case will take, in seconds. `firstMiB` is sent in the first pass, `setMiB` the most of any other. */
export function estimateSeconds(
  { name, convergesBy }: Pick<Way, 'name' | 'convergesBy'>,
  { rate, linkMiBps, firstMiB, setMiB }: { rate: number; linkMiBps: number; firstMiB: number; setMiB: number },
): number {
  const first = firstMiB / linkMiBps;
  const pass = setMiB / linkMiBps;
  const rest = () => {
    if (rate < 1) return Math.min(LIMIT_SECONDS, (pass * rate) / (1 - rate));
    switch (convergesBy) {
      case 'nothing':
        return LIMIT_SECONDS - first;
      case 'steps':
      case 'computed':
        return pass * THROTTLED_PASSES[convergesBy];
      case 'post-copy':
      case 'exceed':
        return pass;
    }
  };
  return AROUND_SECONDS + (name.startsWith('handoff') ? CONTROL_PLANE_SECONDS : 0) + first + rest();
}
