import { z } from 'zod';

/**
 * A host's name in Handoff. It is used in DynamoDB keys, execution names and console links, so only characters that all of them accept
 * are allowed.
 */
export const HostId = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    'must be 1-63 lower-case letters, digits and inner hyphens, such as "rack4-kvm07"',
  );

/** An SSM managed node id: `mi-` for on-prem machines (`i-` is accepted for nested virtualisation on EC2). */
export const ManagedNodeId = z
  .string()
  .regex(
    /^(mi-[0-9a-f]{17}|i-[0-9a-f]{8}([0-9a-f]{9})?)$/,
    'must be an SSM managed node id, such as "mi-0123456789abcdef0"',
  );

/** A libvirt domain name. libvirt forbids "/" and newlines; the rest of the rule keeps it printable. */
export const VmName = z
  .string()
  .min(1)
  .max(128)
  .regex(
    /^[\p{L}\p{N}][\p{L}\p{N} ._:@+-]*$/u,
    'must be a libvirt domain name: letters, digits and ". _ : @ + -", no "/"',
  );

/** Also the name of the execution in Step Functions, which allows at most 80 characters. */
export const MigrationId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{2,79}$/, 'must be 3-80 letters, digits, "-" and "_", such as "web01-5f2c9a7be1"');

export const Role = z.enum(['source', 'destination']);
export type Role = z.infer<typeof Role>;

export const StageName = z.enum([
  'preflight',
  'storage',
  'precopy',
  'cutover',
  'observe-guest',
  'verify',
  'abort',
  'inspect',
]);
export type StageName = z.infer<typeof StageName>;

/**
 * One stage's request: `<migration id>.<stage>.<role>.<attempt>`. The same rule, as RE2, guards the only parameter of the
 * SSM document (cdk/constructs/agent-access.ts), so that nothing else can reach a shell.
 */
export const REQUEST_ID_PATTERN = '^[A-Za-z0-9][A-Za-z0-9_-]{2,79}\\.[a-z-]{3,20}\\.[a-z]{4,20}\\.[0-9]{1,4}$';
export const RequestId = z
  .string()
  .regex(new RegExp(REQUEST_ID_PATTERN), 'must be a request id: <migration>.<stage>.<role>.<attempt>');
export type RequestId = z.infer<typeof RequestId>;

export interface RequestParts {
  migrationId: string;
  stage: StageName;
  role: Role;
  /** 1 for the stages of the plain path; recovery's rounds count upwards. */
  attempt: number;
}

export function requestIdOf(migrationId: string, stage: StageName, role: Role, attempt: number): RequestId {
  return `${migrationId}.${stage}.${role}.${attempt}`;
}

/** Undefined when the text is not a request id of a known stage and role. */
export function parseRequestId(text: string): RequestParts | undefined {
  if (!RequestId.safeParse(text).success) return undefined;
  const [migrationId, stage, role, attempt] = text.split('.');
  const known = { stage: StageName.safeParse(stage), role: Role.safeParse(role) };
  if (!known.stage.success || !known.role.success) return undefined;
  return { migrationId: migrationId!, stage: known.stage.data, role: known.role.data, attempt: Number(attempt) };
}

/** How many hexadecimal digits of a UUID make an id unique: 40 bits. */
const UNIQUE_DIGITS = 10;
const uniqueTail = (uuid: string): string => uuid.replaceAll('-', '').slice(0, UNIQUE_DIGITS);

/** `<slug of the VM>-<10 hexadecimal digits>`, such as `web01-5f2c9a7be1`. An evacuation's machine makes the same (evacuate.ts). */
export const newMigrationId = (vm: string, uuid: string): string => `${slug(vm)}-${uniqueTail(uuid)}`;

/** Also the execution's name in Step Functions, at most 80 characters. */
export const newEvacuationId = (hostId: string, uuid: string): string =>
  `evacuate-${hostId.slice(0, 50)}-${uniqueTail(uuid)}`;

/** The readable head of a VM's migration ids: at most 40 letters, digits and hyphens. */
export function slug(name: string): string {
  const kept = name
    .normalize('NFKD')
    .replace(/[^A-Za-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40)
    .replace(/-+$/, '');
  return kept === '' ? 'vm' : kept;
}
