import type { OwnershipDecision } from '../../common/ownership/decide-ownership.ts';

/**
 * For how long recovery waits for evidence before it asks an operator. Longer than a host needs to reboot into its libvirt:
 * most unreachable hosts come back by themselves, and until then the VM is paused or running, never double.
 */
const EVIDENCE_PATIENCE_MS = 15 * 60_000;
/**
 * For how long a silent host is asked again although the owner is proven without it. Most are back soon (a libvirtd that
 * restarts, a short cut), and what the migration left there can then be put right; after that its cleanup is left pending.
 */
const SILENT_HOST_PATIENCE_MS = 60_000;
/** libvirt ends a dead client's job, and with it a copy it was receiving, within its keepalive of 30 s. */
const CLEANUP_PATIENCE_MS = 3 * 60_000;
/** Each action is tried again in the next round; an action that has not worked by then will not. */
const MAX_ROUNDS = 40;
/**
 * So many rounds may pass while a post-copy proceeds without its mover: with the pauses below, two hours. The guest runs, and nobody
 * could do more than libvirt does; what is left of it afterwards takes the rounds that remain.
 */
const POST_COPY_ROUNDS = 30;
const LONGEST_PAUSE_SECONDS = { usual: 30, inPostCopy: 300 };

export interface Round {
  /** Counted from 1. */
  round: number;
  /** Since recovery began, in ms. */
  elapsedMs: number;
  /** The destination shows the guest running in post-copy. */
  runsInPostCopy: boolean;
}

/** libvirt is seen to bring the VM together by itself: meanwhile no patience is spent. */
export const waitsForPostCopy = ({ round, runsInPostCopy }: Round): boolean =>
  runsInPostCopy && round < POST_COPY_ROUNDS;

/** Before the next round, in seconds. */
export function pauseSeconds(round: Round): number {
  const longest = LONGEST_PAUSE_SECONDS[waitsForPostCopy(round) ? 'inPostCopy' : 'usual'];
  return Math.min(longest, 2 ** Math.min(round.round, 10));
}

/** Puts off what more evidence could make better, and gives up what it has not made better by now. */
export function withPatience(decision: OwnershipDecision, round: Round): OwnershipDecision {
  if (decision.kind === 'operator') return decision;
  const elapsedMs = waitsForPostCopy(round) ? 0 : round.elapsedMs;
  const lastRound = round.round >= MAX_ROUNDS;
  if (
    decision.kind !== 'wait' &&
    decision.pendingCleanup.length > 0 &&
    elapsedMs <= SILENT_HOST_PATIENCE_MS &&
    !lastRound
  ) {
    return { kind: 'wait', why: `${decision.why}; the ${decision.pendingCleanup.join(' and the ')} may answer soon` };
  }
  if (decision.kind === 'settle' || (elapsedMs <= EVIDENCE_PATIENCE_MS && !lastRound)) return decision;
  return inVain(decision);
}

/** In a cleanup no silent host is waited for: it is inspected again later, so that the VM's lock is held for a short while only. */
export function withCleanupPatience(decision: OwnershipDecision, { round, elapsedMs }: Round): OwnershipDecision {
  if (decision.kind === 'settle' || decision.kind === 'operator') return decision;
  return elapsedMs <= CLEANUP_PATIENCE_MS && round < MAX_ROUNDS ? decision : inVain(decision);
}

const inVain = ({ why }: OwnershipDecision): OwnershipDecision => ({
  kind: 'operator',
  why: `${why}, and waiting has not changed that`,
});
