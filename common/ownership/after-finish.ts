import { decideFromFacts } from './decide-ownership.ts';
import type { HostState } from './evidence.ts';

/** What the mover does when its Finish failed: the VM runs there / it does not and never did / nobody can know / inspect again. */
export type AfterFailedFinish = 'confirm' | 'resume-source' | 'unknown' | 'inspect-again';

/**
 * The mover has sent Finish, without success, and inspects the destination. It decides as recovery does for a committed handover
 * whose source is paused by the migration, with one exception, because the mover knows what became of its call: when libvirt *refused*
 * Finish (`refused`), it has destroyed the copy unstarted, and a definition that is left there, shut off, has not run. Recovery, which
 * finds a definition alone, cannot exclude that the VM ran there and ended.
 */
export function decideAfterFailedFinish(destination: HostState, { refused }: { refused: boolean }): AfterFailedFinish {
  if (refused && destination === 'shutoff') return 'resume-source';
  const decision = decideFromFacts({
    commitRecord: 'COMMITTED',
    source: 'migrating-paused',
    sourceJob: false,
    destination,
    startReported: false,
    operatorDecision: undefined,
  });
  switch (decision.kind) {
    case 'act':
      return decision.action === 'resume' ? 'resume-source' : 'confirm';
    case 'settle':
    case 'operator':
      return 'unknown';
    case 'wait':
      return 'inspect-again';
  }
}
