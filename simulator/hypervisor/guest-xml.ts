import { type Guest, imageOf } from './copy.ts';

/** SIMULATED: a local disk's name in its guest. */
export const LOCAL_DISK = 'vdb';

/** SIMULATED: of the guest's one interface. */
export const macOf = ({ uuid }: Guest): string => `52:54:00:${uuid.slice(-6).replace(/(..)(?=.)/g, '$1:')}`;

/** SIMULATED: the domain XML of a guest with one network disk, its local one if it has one, and one interface on br0. */
export function guestXml(guest: Guest): string {
  const { name, uuid, memoryMiB, vcpus } = guest;
  return `<domain type='kvm'>
  <name>${name}</name>
  <uuid>${uuid}</uuid>
  <memory unit='KiB'>${memoryMiB * 1024}</memory>
  <vcpu>${vcpus}</vcpu>
  <os><type arch='x86_64' machine='pc-q35-8.2'>hvm</type></os>
  <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='network' device='disk'>
      <source protocol='nbd' name='${name}'><host name='storage' port='10809'/></source>
      <target dev='vda' bus='virtio'/>
    </disk>${guest.disk === undefined ? '' : localDisk(imageOf(guest))}
    <interface type='bridge'>
      <mac address='${macOf(guest)}'/>
      <source bridge='br0'/>
      <target dev='tap-${name}'/>
      <model type='virtio'/>
    </interface>
  </devices>
</domain>`;
}

const localDisk = (path: string): string => `
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='${path}'/>
      <target dev='${LOCAL_DISK}' bus='virtio'/>
    </disk>`;
