import { describe, expect, it } from 'vitest';
import { decideAfterFailedFinish } from '../../../../common/ownership/after-finish.ts';
import { decideOwnership } from '../../../../common/ownership/decide-ownership.ts';
import { evidenceOf, HOST_STATES } from './host-states.ts';

describe('after a Finish that failed', () => {
  it.each([
    ['running', 'confirm', 'confirm'],
    ['absent', 'resume-source', 'resume-source'],
    // libvirt destroyed the copy it refused to start, and kept a definition; otherwise the VM may have run and ended.
    ['shutoff', 'resume-source', 'unknown'],
    ['incoming', 'inspect-again', 'inspect-again'],
    ['paused', 'inspect-again', 'inspect-again'],
    ['migrating-paused', 'inspect-again', 'inspect-again'],
    ['postcopy-running', 'inspect-again', 'inspect-again'],
    ['postcopy-failed', 'inspect-again', 'inspect-again'],
    ['unreachable', 'inspect-again', 'inspect-again'],
  ] as const)(
    'a destination that is %s means %s when Finish was refused, otherwise %s',
    (state, refused, unanswered) => {
      expect(decideAfterFailedFinish(state, { refused: true })).toBe(refused);
      expect(decideAfterFailedFinish(state, { refused: false })).toBe(unanswered);
    },
  );

  it('the mover resumes the source only where recovery would, unless it knows that its Finish was refused', () => {
    for (const state of HOST_STATES) {
      const recovery = decideOwnership({
        commitRecord: 'COMMITTED',
        source: evidenceOf('migrating-paused'),
        destination: evidenceOf(state),
      });
      const resumes = recovery.kind === 'act' && recovery.action === 'resume';
      expect(decideAfterFailedFinish(state, { refused: false }) === 'resume-source').toBe(resumes);
    }
  });
});
