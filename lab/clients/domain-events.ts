import type { Lab } from '../hosts/lab.ts';
import type { HostName } from '../hosts/plan.ts';
import { startProbe } from './probe.ts';

/** One of libvirt's events of a guest, as its host reported it. */
export interface DomainEvent {
  /** In ms since the epoch. */
  at: number;
  /** libvirt's word for the kind, such as `lifecycle`. */
  kind: string;
  /** virsh's text, such as `Resumed Migrated`, with its lines of detail. */
  what: string;
}

/** Records all events of one guest on a host. */
export async function startEvents(
  lab: Lab,
  host: HostName,
  guest: string,
): Promise<{ stop(): Promise<DomainEvent[]> }> {
  // Of all domains: an arriving guest is not there yet to be named. virsh does not say when it has begun to listen.
  const listen = 'echo ready; exec virsh event --all --loop --timestamp';
  const probe = await startProbe(lab, ['sh', '-c', listen], { ready: /^ready$/m, signal: 'SIGINT', node: host });
  return { stop: async () => parseEvents(await probe.stop(), guest) };
}

/** Reads what `virsh event --timestamp` writes: an event a line, with tab-indented lines of detail after some. */
export function parseEvents(output: string, guest: string): DomainEvent[] {
  const line =
    /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d+)\+0000: event '([^']+)' for domain '([^']+)':?(.*(?:\n\t.*)*)/gm;
  return Array.from(output.matchAll(line))
    .filter(([, , , , name]) => name === guest)
    .map(([, day, time, kind, , what]) => ({ at: Date.parse(`${day}T${time}Z`), kind: kind!, what: what!.trim() }));
}
