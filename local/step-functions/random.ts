/** A random source: numbers in [0, 1). Injected, so that a simulation can replay a run. */
export type Random = () => number;

const HEX = Array.from({ length: 65_536 }, (_, number) => number.toString(16).padStart(4, '0'));

/** A version 4 UUID out of the given source. */
export function uuid(random: Random): string {
  const four = () => HEX[Math.floor(random() * 65_536)]!;
  const version = HEX[0x4000 | Math.floor(random() * 0x1000)]!;
  const variant = HEX[0x8000 | Math.floor(random() * 0x4000)]!;
  return `${four()}${four()}-${four()}-${version}-${variant}-${four()}${four()}${four()}`;
}
