import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { CACHE } from '../guest-image/image.ts';
import { cachedKernel } from '../guest-image/kernel.ts';

export type Support = { able: true } | { able: false; reason: string };

/** Something the lab needs from a package, and how its presence shows. */
export interface Need {
  packageName: string;
  what: string;
  /** A program on the PATH, or a file. */
  shown: { program: string } | { file: string };
}

/** Before QEMU 9.0 an emulated guest loses writes to its memory now and then while it is migrated. */
export const MINIMUM_QEMU = 9;

export const NEEDS: readonly Need[] = [
  { packageName: 'qemu-system-x86', what: 'the hypervisor', shown: { program: 'qemu-system-x86_64' } },
  { packageName: 'qemu-utils', what: 'the disk server (qemu-nbd)', shown: { program: 'qemu-nbd' } },
  { packageName: 'libvirt-daemon', what: 'libvirtd', shown: { program: 'libvirtd' } },
  { packageName: 'libvirt-daemon-driver-qemu', what: "libvirtd's QEMU driver", shown: { file: driver('qemu') } },
  {
    packageName: 'libvirt-daemon-driver-network',
    what: "libvirtd's network driver",
    shown: { file: driver('network') },
  },
  { packageName: 'libvirt-clients', what: 'virsh', shown: { program: 'virsh' } },
  { packageName: 'iproute2', what: 'ip and tc: bridges, cables, slow links', shown: { program: 'tc' } },
  { packageName: 'iptables', what: 'ebtables: a bridge that hears nothing', shown: { program: 'ebtables' } },
  { packageName: 'iputils-ping', what: 'ping, which measures blackouts', shown: { program: 'ping' } },
  { packageName: 'gcc', what: "the compiler of the guest's program", shown: { program: 'gcc' } },
  { packageName: 'libc6-dev', what: 'the C library to link it with', shown: { file: '/usr/include/stdio.h' } },
  { packageName: 'xz-utils', what: 'for kernel modules that come compressed', shown: { program: 'xz' } },
];

/** Whether a lab can be brought up here and now; if not, why, and what would help. For tests and demos to skip or fall back. */
export function labSupport(): Support {
  const machine = machineSupport();
  if (!machine.able) return machine;
  const missing = missingNeeds().map((need) => need.packageName);
  if (cachedKernel(CACHE) === undefined) missing.push("the guests' kernel");
  if (missing.length === 0 && qemuIsOld()) missing.push(`QEMU ${MINIMUM_QEMU} or later`);
  if (missing.length === 0) return { able: true };
  return { able: false, reason: `not installed: ${missing.join(', ')}; "lab install" installs it` };
}

/** Whether this machine can have a lab once the packages are there. */
export function machineSupport(): Support {
  const no = (reason: string): Support => ({ able: false, reason });
  if (process.platform !== 'linux') return no(`the lab needs Linux, and this is ${process.platform}`);
  if (process.arch !== 'x64') return no(`the lab's guests are x86-64, and this machine is ${process.arch}`);
  if (process.getuid?.() !== 0) return no('the lab needs root: it makes network and mount namespaces');
  const { status, stderr } = spawnSync(
    'unshare',
    [
      '--net',
      '--mount',
      '--uts',
      '--pid',
      '--fork',
      'sh',
      '-c',
      'mount -t proc proc /proc && mount -t sysfs sysfs /sys',
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) return no(`namespaces are not permitted here (a container needs --privileged): ${stderr?.trim()}`);
  if (!existsSync('/dev/net/tun')) return no('/dev/net/tun is missing: guests have no network without it');
  return { able: true };
}

export function missingNeeds(): Need[] {
  return NEEDS.filter(({ shown }) => ('file' in shown ? !existsSync(shown.file) : !onPath(shown.program)));
}

/** Whether the QEMU here is too old to trust; false where there is none. */
export function qemuIsOld(): boolean {
  const { stdout } = spawnSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' });
  const major = Number(/version (\d+)/.exec(stdout ?? '')?.[1]);
  return major < MINIMUM_QEMU;
}

function onPath(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(`${folder}/${program}`));
}

function driver(name: string): string {
  return `/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_${name}.so`;
}
