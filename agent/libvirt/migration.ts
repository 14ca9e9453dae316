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
  return parameters;
}

export function destinationFlags({ persistent }: MigrationOptions): number {
  const { live, persistDestination, undefineSource } = MIGRATE_FLAGS;
  return live | (persistent ? persistDestination | undefineSource : 0);
}

export function sourceFlags(options: MigrationOptions): number {
  return destinationFlags(options) | MIGRATE_FLAGS.changeProtection;
}
