/** A random source: numbers in [0, 1). Injected, so that a simulation can replay a run. */
export type Random = () => number;

/** A version 4 UUID out of the given source. */
export function uuid(random: Random): string {
  return 'xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx'.replace(/[xy]/g, (place) => {
    const nibble = Math.floor(random() * 16);
    return (place === 'x' ? nibble : (nibble & 0x3) | 0x8).toString(16);
  });
}
