import { HypervisorError } from '../hypervisor.ts';
import type { Procedure, QemuProcedure } from './protocol.ts';
import { readDomain, readNetwork } from './references.ts';
import type { XdrReader } from './xdr.ts';

/** virErrorNumber: the codes that Handoff decides by or names to people. Numbers are append-only. */
export const LIBVIRT_ERROR = {
  INTERNAL_ERROR: 1,
  NO_SUPPORT: 3,
  INVALID_ARG: 8,
  OPERATION_FAILED: 9,
  XML_ERROR: 27,
  SYSTEM_ERROR: 38,
  RPC: 39,
  /** The one answer that proves a domain's absence. */
  NO_DOMAIN: 42,
  NO_NETWORK: 43,
  AUTH_FAILED: 45,
  /** The domain is not in a state for this, such as a job's statistics where none are kept. */
  OPERATION_INVALID: 55,
  CONFIG_UNSUPPORTED: 67,
  OPERATION_TIMEOUT: 68,
  /** The migration worked, but the definition could not be kept at the destination. */
  MIGRATE_PERSIST_FAILED: 69,
  ARGUMENT_UNSUPPORTED: 74,
  OPERATION_ABORTED: 78,
  /** libvirt does not take the disks for shared, or their cache mode for safe. */
  MIGRATE_UNSAFE: 81,
  OPERATION_UNSUPPORTED: 84,
  ACCESS_DENIED: 88,
  CPU_INCOMPATIBLE: 91,
  /** How Finish says that a cancelled migration was cleaned up: a success that has no domain to return. */
  MIGRATE_FINISH_OK: 93,
} as const;

const NAMES = new Map<number, string>(Object.entries(LIBVIRT_ERROR).map(([name, code]) => [code, name]));

/** Reads the body of an error reply (remote_error). */
export function readError(procedure: Procedure | QemuProcedure, reader: XdrReader): HypervisorError {
  const code = reader.int();
  reader.int(); // The part of libvirt it comes from (virErrorDomain).
  const message = reader.optionalString();
  reader.int(); // Its level, always "error".
  reader.optional(readDomain);
  // The pieces the message was put together from.
  reader.optionalString();
  reader.optionalString();
  reader.optionalString();
  reader.int();
  reader.int();
  reader.optional(readNetwork);
  const name = NAMES.get(code) ?? 'libvirt error';
  return new HypervisorError(`${message ?? 'no message'} (${procedure}: ${name} ${code})`, {
    answered: true,
    libvirtCode: code,
  });
}

/** Whether libvirt itself answered with this code. */
export function isLibvirtError(error: unknown, code: number): error is HypervisorError {
  return error instanceof HypervisorError && error.answered && error.libvirtCode === code;
}
