/** Bytes in a MiB. */
export const MIB = 1_048_576;

/** An amount of memory or data for a person, from bytes: 17 MiB. `round`: up for what is missing, down for what is there. */
export const mib = (bytes: number, round: (value: number) => number = Math.round): string =>
  `${round(bytes / MIB)} MiB`;

/** A time for a person, from ms: 12.5 s. */
export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
