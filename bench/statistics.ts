import { quantile } from '../common/statistics.ts';

/** What many runs of one thing gave. */
export interface Summary {
  runs: number;
  median: number;
  p25: number;
  p75: number;
  min: number;
  max: number;
}

export function summarize(values: readonly number[]): Summary {
  if (values.length === 0) throw new RangeError('no runs to summarize');
  const at = (q: number) => quantile(values, q)!;
  return { runs: values.length, median: at(0.5), p25: at(0.25), p75: at(0.75), min: at(0), max: at(1) };
}
