import type { Guest } from './host.ts';

/** SIMULATED: the domain XML of a guest with one network disk and one interface on br0. */
export function guestXml({ name, uuid, memoryMiB, vcpus }: Guest): string {
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
    </disk>
    <interface type='bridge'>
      <source bridge='br0'/>
      <target dev='tap-${name}'/>
      <model type='virtio'/>
    </interface>
  </devices>
</domain>`;
}
