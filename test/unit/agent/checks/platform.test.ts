import { describe, expect, it } from 'vitest';
import {
  checkCpu,
  checkMemory,
  checkVersions,
  supportsAvailSwitchoverBandwidth,
} from '../../../../agent/checks/platform.ts';
import { expectVerdict } from './expect-verdict.ts';

const version = (libvirt: number, qemu: number) => ({ libvirt, qemu });
const OLD = version(9_000_000, 7_002_022);
const NEW = version(11_003_000, 10_000_002);

describe('supportsAvailSwitchoverBandwidth', () => {
  it.each([
    ['pc-q35-8.2', NEW, true],
    ['pc-i440fx-10.0', NEW, true],
    ['virt-9.1', version(11_001_000, 9_001_000), true],
    // Started by an older QEMU than the one installed, or possibly so.
    ['pc-q35-8.1', NEW, false],
    ['pc-i440fx-7.2', NEW, false],
    ['pc-q35-rhel9.4.0', NEW, false],
    ['', NEW, false],
    ['pc-q35-8.2', version(11_000_000, 10_000_002), false],
  ])('%s on %o: %s', (machine, versions, expected) => {
    expect(supportsAvailSwitchoverBandwidth(versions, machine)).toBe(expected);
  });
});

describe('checks of the platform', () => {
  it.each([
    ['same versions', checkVersions(OLD, OLD), true],
    ['newer versions', checkVersions(OLD, NEW), true],
    ['older libvirt', checkVersions(NEW, version(9_000_000, 10_000_002)), false],
    ['older QEMU', checkVersions(NEW, version(11_003_000, 7_002_022)), false],
    ['the same CPU', checkCpu('custom', 'identical'), true],
    ['a richer CPU', checkCpu('custom', 'superset'), true],
    ['a poorer CPU', checkCpu('custom', 'incompatible'), false],
    ['a richer CPU for a passthrough one', checkCpu('host-passthrough', 'superset'), false],
    ['the same CPU for a passthrough one', checkCpu('host-passthrough', 'identical'), true],
    // 4,096 MiB and 256 MiB + 2 % overhead = 4,434 MiB.
    ['just enough memory', checkMemory(4_434, 0, 4_096), true],
    ['a little too few memory', checkMemory(4_433, 0, 4_096), false],
    ['memory reserved for others', checkMemory(8_000, 4_000, 4_096), false],
  ])('%s', (_, verdict, passed) => expectVerdict(verdict, passed));

  it('state the numbers', () => {
    expect(checkMemory(8_000, 4_000, 4_096)).toMatchObject({
      found: '8000 MiB free, 4000 MiB of it reserved for other migrations; needed: 4096 MiB and 338 MiB overhead',
      remedy: 'free 434 MiB on this host, or choose another',
    });
    expect(checkVersions(NEW, OLD).found).toBe(
      'libvirt 9.0.0 and QEMU 7.2.22 here, libvirt 11.3.0 and QEMU 10.0.2 on the source',
    );
  });
});
