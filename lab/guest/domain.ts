import type { GuestImage } from '../guest-image/image.ts';
import type { SharedDisk } from '../hosts/disks.ts';
import { macOf } from '../hosts/mac.ts';

export interface DomainDescription {
  name: string;
  address: string;
  memoryMiB: number;
  dirtyMiBps: number;
  workingSetMiB: number;
  bridge: string;
  /** A disk both hosts reach, a file on this host only, or none. */
  disk: SharedDisk | { file: string } | undefined;
}

/** A guest's libvirt definition. */
export function domainXml(guest: DomainDescription, image: GuestImage): string {
  const settings = `handoff.address=${guest.address}/24 handoff.dirty=${guest.dirtyMiBps} handoff.workset=${guest.workingSetMiB}`;
  // Emulated and not KVM, with a CPU that any machine can emulate: the lab must run inside virtual machines too.
  return `<domain type='qemu'>
  <name>${guest.name}</name>
  <memory unit='MiB'>${guest.memoryMiB}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>${image.kernel}</kernel>
    <initrd>${image.initramfs}</initrd>
    <cmdline>console=ttyS0 quiet ${settings}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>${diskXml(guest.disk)}
    <interface type='bridge'>
      <mac address='${macOf('52:54', guest.address)}'/>
      <source bridge='${guest.bridge}'/>
      <model type='virtio'/>
    </interface>
    <serial type='file'><source path='/var/log/libvirt/${guest.name}.console'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
`;
}

function diskXml(disk: DomainDescription['disk']): string {
  if (disk === undefined) return '';
  const [type, source] =
    'file' in disk
      ? ['file', `<source file='${disk.file}'/>`]
      : [
          'network',
          `<source protocol='nbd' name='${disk.name}'><host name='${disk.address}' port='${disk.port}'/></source>`,
        ];
  return `
    <disk type='${type}' device='disk'>
      <driver name='qemu' type='raw'${'file' in disk ? '' : " cache='none'"}/>
      ${source}
      <target dev='vda' bus='virtio'/>
    </disk>`;
}
