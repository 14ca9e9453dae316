/** The period of a `rate(...)` expression in ms. `cron(...)` and `at(...)` fail by name. */
export function ratePeriodMs(expression: string): number {
  const match = /^rate\(([1-9]\d*) (minute|hour|day)(s?)\)$/.exec(expression);
  if (match === null) {
    throw new Error(
      `The embedded AWS does not implement the schedule "${expression}"; it knows rate(n minutes), rate(n hours) and rate(n days).`,
    );
  }
  const [, count, unit, plural] = match;
  // AWS rejects "1 minutes" and "2 minute" too.
  if ((count === '1') === (plural === 's')) throw new Error(`The schedule "${expression}" mixes singular and plural.`);
  return Number(count) * { minute: 60_000, hour: 3_600_000, day: 86_400_000 }[unit as 'minute' | 'hour' | 'day'];
}
