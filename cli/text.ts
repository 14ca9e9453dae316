import type { Progress } from '../contract/facts.ts';
import type { Range } from '../contract/forecast.ts';

/** A duration in a person's units: 85 ms, 2.4 s, 3 min 20 s, 2 h 5 min. */
export function duration(ms: number): string {
  // Rounded to what is shown before it is put into words, or there would be minutes of 60 s.
  if (Math.round(ms) < 1000) return `${Math.round(ms)} ms`;
  const tenths = Math.round(ms / 100);
  if (tenths < 600) return `${(tenths / 10).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(ms / 60_000);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** An amount of memory or data: 512 KiB, 16.6 MiB, 1.5 GiB. */
export function bytes(count: number): string {
  const kib = Math.round(count / 1024);
  if (kib < 1024) return `${kib} KiB`;
  const mib = (count / 1024 ** 2).toFixed(1);
  return Number(mib) < 1024 ? `${mib} MiB` : `${(count / 1024 ** 3).toFixed(1)} GiB`;
}

export function bar(progress: Pick<Progress, 'bytesTotal' | 'bytesRemaining'>, width = 24): string {
  const copied = progress.bytesTotal === 0 ? 0 : 1 - progress.bytesRemaining / progress.bytesTotal;
  // QEMU may count more left than there is.
  const share = Math.max(0, Math.min(1, copied));
  const filled = Math.round(share * width);
  return `[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${Math.round(share * 100)} %`;
}

/** A forecast value with its range. */
export function span({ expected, low, high }: Range, format: (value: number) => string): string {
  return `${format(expected)} (${format(low)} to ${format(high)})`;
}
