/**
 * Every failure a user or an operator can see, by its stable code. Agents report them, state machines end with them, the
 * API answers with them. `retryable` says whether the same request may well succeed later without a change.
 */
export const FAILURES = {
  // Refused before anything was touched.
  InvalidInput: 'The request is not valid; the message names each field.',
  UnknownHost: 'No host of that name is registered.',
  UnknownMigration: 'No migration of that id is known.',
  UnknownEvacuation: 'No evacuation of that id is known.',
  VmBusy: 'The VM is being migrated already.',
  HostNotAccepting: 'The destination is cordoned or in maintenance.',
  HostInUse: 'The host takes VMs, or a migration has to do with it.',
  HostBusy: 'No slot came free on the hosts within the time the policy allows.',
  PreflightFailed: 'A check failed; the VM was not touched.',
  PolicyNotMet: 'By the forecast the move cannot keep its policy; the VM was not touched.',
  MemoryTaken: 'The destination has promised its free memory to other migrations.',
  IdempotencyKeyReused: 'The same Idempotency-Key came with a different request.',
  // What an agent says of a task.
  TaskInvalid: 'The order is malformed or of another version.',
  TaskExpired: 'The order came too late to be begun.',
  TaskMisdirected: 'The order is for another host.',
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
  PostCopyBroken: 'The post-copy broke and could not be resumed yet; neither half of the VM is touched.',
  NotYet: 'The copy is held until it is its turn, or until its cutover is ordered.',
  NotHeld: 'Only a migration whose cutover was asked to wait, and that has not ended, can be told to cut over.',
  MoverGone: 'The process that carried the migration is gone.',
  CommitRevoked: 'The control plane took the permission to hand over back.',
  CommitUnknown: 'AWS could not be reached to commit the handover, so it was cancelled.',
  HandoverCancelled: 'The destination could not start the VM; it runs on at the source.',
  FinishUnknown: "The destination's answer to the handover was lost; nothing is resumed until its state is known.",
  VerifyFailed: 'A check after the handover failed.',
  Cancelled: 'Cancelled on request.',
  AlreadyHandedOver: 'The handover is committed; it can no longer be cancelled.',
  ExecutionStopped: 'The execution that carried the migration was stopped from outside; another one settled it.',
  // What recovery cannot settle by itself.
  NeedsOperator: 'Who owns the VM could not be proven; nothing was resumed.',
  NotInDoubt: 'Only a migration that needs an operator can be resolved.',
  SettledByOperator: 'An operator said where the VM is.',
  HostNotEmptied: 'VMs are left on the host.',
} as const;
export type FailureCode = keyof typeof FAILURES;

/** An error with a code a program can act on. */
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
