import type { TcpAnswer } from '../host/facts.ts';
import { fail, pass, type Verdict } from './check.ts';

/** The address of the libvirt daemon of a URI; undefined for a local URI (unix socket). */
export function libvirtEndpoint(uri: string): { host: string; port: number } | undefined {
  const { protocol, hostname, port } = new URL(uri);
  const transport = /^qemu(?:\+(\w+))?:$/.exec(protocol)?.[1];
  if (transport === 'unix' || hostname === '') return undefined;
  // Only a URI has an IPv6 address in brackets.
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? (transport === 'tcp' ? 16_509 : 16_514) : Number(port),
  };
}

/** QEMU listens here for the first incoming migration (libvirt's `migration_port_min`). */
export const FIRST_MIGRATION_PORT = 49_152;

/**
 * libvirt's port must accept. On the migration port nothing listens before Prepare, so a refusal is as good as an acceptance: it proves
 * that the packets pass. Only a firewall gives no answer.
 */
export function checkReachable(
  address: string,
  libvirt: TcpAnswer | undefined,
  migration: TcpAnswer | undefined,
): Verdict {
  const faults: string[] = [];
  if (libvirt !== undefined && libvirt.answer !== 'accepted') {
    faults.push(`libvirt's port: ${libvirt.answer === 'refused' ? 'refused' : libvirt.error}`);
  }
  if (migration !== undefined && migration.answer === 'none') {
    faults.push(`migration port ${FIRST_MIGRATION_PORT}: ${migration.error}`);
  }
  return faults.length === 0
    ? pass(`${address} answers`)
    : fail(
        `${address} does not answer on ${faults.join('; on ')}`,
        'let libvirtd listen there, and let its port and 49152-49215 (migration) through the firewall',
      );
}
