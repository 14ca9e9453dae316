import type { Versions } from '../hypervisor.ts';
import { fail, pass, type Verdict } from './check.ts';

/** Whether the destination can run this guest. */

export function checkVersions(source: Versions, here: Versions): Verdict {
  const found = `libvirt ${words(here.libvirt)} and QEMU ${words(here.qemu)} here, libvirt ${words(source.libvirt)} and QEMU ${words(source.qemu)} on the source`;
  const older = [here.libvirt < source.libvirt && 'libvirt', here.qemu < source.qemu && 'QEMU'].filter(Boolean);
  return older.length === 0
    ? pass(found)
    : fail(found, `update ${older.join(' and ')} here: a guest moves to the same version or a newer one, not back`);
}

/** libvirt counts major * 1,000,000 + minor * 1,000 + release. */
function words(version: number): string {
  return `${Math.floor(version / 1_000_000)}.${Math.floor(version / 1_000) % 1_000}.${version % 1_000}`;
}

/**
 * Whether libvirt and the guest's QEMU support `bandwidth.avail.switchover`, as libvirt 11.1 and QEMU 8.2 do. The guest may run in an
 * older QEMU than the installed one; its machine type proves a minimum version.
 */
export function supportsAvailSwitchoverBandwidth({ libvirt }: Pick<Versions, 'libvirt'>, machine: string): boolean {
  const [, major, minor] = machine.match(/^(?:pc-i440fx|pc-q35|virt)-(\d+)\.(\d+)$/) ?? [];
  return libvirt >= 11_001_000 && Number(major) * 1_000 + Number(minor) >= 8_002;
}

export type CpuComparison = 'incompatible' | 'identical' | 'superset';

export function checkCpu(mode: string, comparison: CpuComparison): Verdict {
  if (comparison === 'incompatible') {
    return fail(
      "this host's CPU lacks features that the guest's CPU has",
      'choose a host with the same or a newer CPU, or give the VM a CPU model that both hosts have',
    );
  }
  if (mode === 'host-passthrough' && comparison !== 'identical') {
    return fail(
      "the guest has the source host's own CPU (host-passthrough), and this host's is not identical",
      'choose a host with an identical CPU, or give the VM a named CPU model',
    );
  }
  return pass(
    comparison === 'identical' ? "identical to this host's CPU" : "this host's CPU has all of the guest's and more",
  );
}

/**
 * The memory that a guest takes beyond its own: QEMU, its page tables and device buffers. libvirt does not account for it; these are the
 * figures that operators commonly reserve (a fixed part, and about 2 % for page tables and dirty tracking).
 */
const OVERHEAD_MIB = 256;
const OVERHEAD_SHARE = 0.02;

export function checkMemory(free: number, reserved: number, guest: number): Verdict {
  const overhead = Math.ceil(OVERHEAD_MIB + guest * OVERHEAD_SHARE);
  const needed = Math.ceil(guest) + overhead;
  const available = Math.floor(free - reserved);
  const found = `${Math.floor(free)} MiB free, ${reserved} MiB of it reserved for other migrations; needed: ${Math.ceil(guest)} MiB and ${overhead} MiB overhead`;
  return available >= needed
    ? pass(found)
    : fail(found, `free ${needed - available} MiB on this host, or choose another`);
}
