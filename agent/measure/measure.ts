import { MIB, mib } from '../../common/units.ts';
import type { Measurements } from '../../contract/forecast.ts';
import { pass, type Verdict } from '../checks/check.ts';
import type { AgentDeps } from '../deps.ts';
import type { DomainDescription } from '../domain-xml.ts';
import type { Domain } from '../hypervisor.ts';
import { measureDirtyRate } from './dirty-rate.ts';
import type { Link } from './link.ts';

export type GuestMeasurements = Omit<Measurements, keyof Link | 'roundTripMs' | 'supportsAvailSwitchoverBandwidth'>;

/** Measures the running guest. `linkBytesPerSecond` may resolve while the guest is measured. */
export async function measureGuest(
  { clock, facts }: Pick<AgentDeps, 'clock' | 'facts'>,
  domain: Domain,
  { memoryMiB, vcpus }: Pick<DomainDescription, 'memoryMiB' | 'vcpus'>,
  linkBytesPerSecond: Promise<number>,
): Promise<GuestMeasurements> {
  const memoryBytes = memoryMiB * MIB;
  const backed = (await facts.guestResidentBytes(domain.name, memoryBytes)) ?? (await domain.residentBytes());
  // A size of 0 means that libvirt could not read the process.
  const residentBytes = Math.min(memoryBytes, backed || memoryBytes);
  const dirtyRate = await measureDirtyRate(domain, clock, { vcpus, mostBytes: residentBytes, linkBytesPerSecond });
  return { ...dirtyRate, memoryBytes, residentBytes };
}

export function checkDirtyRate({ dirtyBytesPerSecond, workingSetBytes, cpuUse }: GuestMeasurements): Verdict {
  return pass(
    `writes ${mib(dirtyBytesPerSecond)}/s over ${mib(workingSetBytes)}, uses ${Math.round(cpuUse * 100)} % of its CPU`,
  );
}
