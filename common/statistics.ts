/** The value below which a share `q` of all lie, by linear interpolation between the two nearest; undefined of none. */
export function quantile(values: readonly number[], q: number): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const [below, above] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  if (below === undefined || above === undefined) return undefined;
  return below + (above - below) * (at - Math.floor(at));
}

export const median = (values: readonly number[]): number | undefined => quantile(values, 0.5);
