import { HandoffError } from '../../contract/errors.ts';
import type { CommitRecordState } from '../../contract/mailbox.ts';
import { messageOf } from '../error-message.ts';
import type { HandoverEnd } from './handover.ts';

export function commitRevoked(commitRecord: CommitRecordState | undefined): HandoffError {
  return new HandoffError(
    'CommitRevoked',
    commitRecord === undefined
      ? 'there is no commit record for this migration, so the control plane does not permit a handover'
      : `the commit record is ${commitRecord}: the control plane no longer permits this mover to hand over`,
  );
}

/** What is reported of a handover that did not switch. `abortReason`: of the copy, where it was to be ended before. */
export function failureOfHandover(
  end: Exclude<HandoverEnd, { kind: 'switched' }>,
  abortReason: HandoffError | undefined,
): HandoffError {
  switch (end.kind) {
    case 'postcopy-broken':
      return new HandoffError(
        'PostCopyBroken',
        `each host has a half of the VM, and they could not be brought together: ${messageOf(end.error)}; neither was touched`,
        { cause: end.error },
      );
    case 'finish-unknown':
      return new HandoffError('FinishUnknown', `which host has the VM is not known: ${messageOf(end.error)}`, {
        cause: end.error,
      });
    case 'refused':
      return new HandoffError('HandoverCancelled', `the destination could not start the VM: ${messageOf(end.error)}`, {
        cause: end.error,
      });
    case 'cancelled':
      if (abortReason !== undefined) return abortReason;
      return end.because === 'revoked'
        ? new HandoffError(
            'CommitRevoked',
            'the control plane took the commit record back; the VM runs on at the source',
          )
        : new HandoffError('CommitUnknown', 'AWS did not answer the commit; the VM runs on at the source');
  }
}
