/**
 * Every failure a user or an operator can see, by its stable code. Agents report the codes, state machines end with them, the
 * API answers with them. docs/reference/errors.md is generated from this table.
 */
export const FAILURES = {
  // Refused before anything was touched.
  InvalidInput: 'The request is not valid; the message names each field.',
  UnknownHost: 'No host of that name is registered.',
  UnknownMigration: 'No migration of that id is known.',
  UnknownEvacuation: 'No evacuation of that id is known.',
  VmBusy: 'The VM is being migrated already.',
  HostNotAccepting: 'The destination is cordoned or in maintenance.',
  HostInUse: 'The host accepts VMs, or a migration still holds something on it.',
  HostBusy: 'No slot became free on both hosts within the time that the policy allows.',
  PreflightFailed: 'A check failed; the VM was not touched.',
  PolicyNotMet: 'The forecast says that the migration cannot keep its policy; the VM was not touched.',
  MemoryTaken: 'The free memory of the destination is reserved for other migrations.',
  IdempotencyKeyReused: 'The same Idempotency-Key came with a different request.',
  // A task that an agent refused, or could not carry out.
  TaskInvalid: 'The task is malformed or of another contract version.',
  TaskExpired: 'The task arrived too late to be started.',
  TaskMisdirected: 'The task is for another host.',
  CommandFailed: 'SSM could not run the agent on the host.',
  HostSilent: 'A host did not report on a stage in time.',
  AgentFailed: 'The agent failed in a way it did not expect.',
  HypervisorUnreachable: "A host's libvirt could not be reached.",
  // What ends a copy or a handover.
  StorageFailed: 'An image for a disk could not be made on the destination; the VM runs on at the source.',
  CopyFailed: 'libvirt ended the copy; the VM runs on at the source.',
  DeadlineExceeded: 'The copy did not converge by the deadline of the policy.',
  NotConverging:
    'The copy made no net progress and the policy allows no further measure; the VM runs on at the source.',
  PostCopyBroken: 'The post-copy broke and could not be resumed yet; both halves of the VM are kept.',
  NotYet: 'The copy is held until a cutover slot is free, or until its cutover is requested.',
  NotHeld: 'A cutover can be requested only of a running migration whose policy has `cutover: manual`.',
  MoverGone: 'The mover, the process that carries the migration on the source, is gone.',
  CommitRevoked: 'The control plane revoked the commit record, so the VM may not be handed over.',
  CommitUnknown: 'The commit could not be confirmed by AWS in time, so the handover was cancelled.',
  HandoverCancelled: 'The destination could not start the VM; it runs on at the source.',
  FinishUnknown:
    "The destination's answer to Finish was lost; nothing is resumed until the state of the VM there is known.",
  VerifyFailed: 'A check after the handover failed.',
  Cancelled: 'Cancelled on request.',
  AlreadyHandedOver: 'The handover is committed; it can no longer be cancelled.',
  ExecutionStopped:
    'The execution of the migration was stopped from outside; a Recover execution settled the migration.',
  // What recovery cannot settle by itself.
  NeedsOperator: 'It could not be proven which host owns the VM; nothing was resumed.',
  NotInDoubt: 'Only a migration that needs an operator can be resolved.',
  SettledByOperator: 'An operator stated which host owns the VM.',
  HostNotEmptied: 'VMs still run on the host.',
} as const;
export type FailureCode = keyof typeof FAILURES;

/** An error with a stable code. */
export class HandoffError extends Error {
  readonly code: FailureCode;
  readonly detail: Record<string, unknown> | undefined;

  constructor(code: FailureCode, message: string, options: { detail?: Record<string, unknown>; cause?: unknown } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = code;
    this.code = code;
    this.detail = options.detail;
  }
}
