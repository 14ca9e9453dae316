import type { HandshakeInput, MigrationOptions } from '../hypervisor.ts';
import { MIGRATE_FLAGS } from './protocol.ts';
import type { TypedParameter } from './typed-parameters.ts';

/**
 * The parameters of the handshake's calls. `uri` is where the destination's QEMU listens, once Prepare has said it.
 */
export function migrationParameters(options: MigrationOptions & HandshakeInput, uri?: string): TypedParameter[] {
  const parameters: TypedParameter[] = [
    { field: 'destination_xml', type: 'string', value: options.xml },
    { field: 'destination_name', type: 'string', value: options.name },
  ];
  if (uri !== undefined) parameters.push({ field: 'migrate_uri', type: 'string', value: uri });
  if (options.throttle !== undefined) {
    const { initialPercent, incrementPercent } = options.throttle;
    parameters.push({ field: 'auto_converge.initial', type: 'int', value: initialPercent });
    parameters.push({ field: 'auto_converge.increment', type: 'int', value: incrementPercent });
  }
  for (const target of options.migratedDisks ?? []) parameters.push(migratedDisk(target));
  if (options.diskMiBps !== undefined && options.diskMiBps > 0) {
    parameters.push({ field: 'bandwidth', type: 'ullong', value: BigInt(options.diskMiBps) });
  }
  if (options.availSwitchoverBandwidthMiBps !== undefined) {
    parameters.push({
      field: 'bandwidth.avail.switchover',
      type: 'ullong',
      value: BigInt(options.availSwitchoverBandwidthMiBps),
    });
  }
  if (options.postCopyMiBps !== undefined && options.postCopyMiBps > 0) {
    parameters.push({ field: 'bandwidth.postcopy', type: 'ullong', value: BigInt(options.postCopyMiBps) });
  }
  if (several(options)) parameters.push({ field: 'parallel.connections', type: 'int', value: options.connections! });
  return parameters;
}

/** Begin's only parameters: without them libvirt takes every local disk for an unsafe one. */
export function beginParameters({ migratedDisks = [] }: MigrationOptions): TypedParameter[] {
  return migratedDisks.map(migratedDisk);
}

const migratedDisk = (target: string): TypedParameter => ({ field: 'migrate_disks', type: 'string', value: target });

export function destinationFlags(options: MigrationOptions): number {
  const { live, persistDestination, undefineSource, autoConverge, postCopy, postCopyResume, parallel } = MIGRATE_FLAGS;
  return (
    live |
    (options.migratedDisks !== undefined && options.migratedDisks.length > 0 ? MIGRATE_FLAGS.nonSharedDisk : 0) |
    (options.persistent ? persistDestination | undefineSource : 0) |
    (options.throttle !== undefined ? autoConverge : 0) |
    (options.postCopy === true ? postCopy : 0) |
    (options.resume === true ? postCopyResume : 0) |
    (several(options) ? parallel : 0)
  );
}

/** One connection is QEMU's ordinary stream, without multifd. */
const several = ({ connections = 1 }: MigrationOptions): boolean => connections > 1;

export function sourceFlags(options: MigrationOptions): number {
  return destinationFlags(options) | MIGRATE_FLAGS.changeProtection;
}
