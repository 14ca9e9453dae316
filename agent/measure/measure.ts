import { MIB, mib } from '../../common/units.ts';
import type { Measurements } from '../../contract/forecast.ts';
import { pass, type Verdict } from '../checks/check.ts';
import type { AgentDeps } from '../deps.ts';
import type { DomainDescription } from '../domain-xml.ts';
import type { Domain } from '../hypervisor.ts';
import { measureDirtyRate } from './dirty-rate.ts';
import type { Link } from './link.ts';

export type GuestMeasurements = Omit<Measurements, keyof Link | 'roundTripMs' | 'supportsAvailSwitchoverBandwidth'>;

/** The guest as it runs. `linkBytesPerSecond` may come while it is being looked at. */
export async function measureGuest(
  { clock, facts }: Pick<AgentDeps, 'clock' | 'facts'>,
  domain: Domain,
  { memoryMiB, vcpus }: Pick<DomainDescription, 'memoryMiB' | 'vcpus'>,
  linkBytesPerSecond: Promise<number>,
): Promise<GuestMeasurements> {
  const memoryBytes = memoryMiB * MIB;
  const backed = (await facts.guestResidentBytes(domain.name, memoryBytes)) ?? (await domain.residentBytes());
  // A process of no size is one libvirt could not look at.
  const residentBytes = Math.min(memoryBytes, backed || memoryBytes);
  const writing = await measureDirtyRate(domain, clock, { vcpus, mostBytes: residentBytes, linkBytesPerSecond });
  return { ...writing, memoryBytes, residentBytes };
}

export function checkDirtyRate({ dirtyBytesPerSecond, workingSetBytes, cpuUse }: GuestMeasurements): Verdict {
  return pass(
    `writes ${mib(dirtyBytesPerSecond)}/s over ${mib(workingSetBytes)}, uses ${Math.round(cpuUse * 100)} % of its CPU`,
  );
}
