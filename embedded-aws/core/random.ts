/** A random source: numbers in [0, 1). Injected, so that a simulation can replay a run. */
export type Random = () => number;

const HEX = Array.from({ length: 65_536 }, (_, number) => number.toString(16).padStart(4, '0'));

/** A version 4 UUID out of the given source, whose numbers must have 32 bits each that can be relied upon. */
export function uuid(random: Random): string {
  const bits = () => Math.floor(random() * 0x1_0000_0000);
  const [a, b, c, d] = [bits(), bits(), bits(), bits()];
  const [version, variant] = [0x4000 | (b & 0xfff), 0x8000 | (c >>> 18)];
  return `${HEX[a >>> 16]}${HEX[a & 0xffff]}-${HEX[b >>> 16]}-${HEX[version]}-${HEX[variant]}-${HEX[c & 0xffff]}${HEX[d >>> 16]}${HEX[d & 0xffff]}`;
}
