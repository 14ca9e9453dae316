import { describe, expect, it } from 'vitest';
import type { Decision } from '../../../../contract/forecast.ts';
import type { Policy } from '../../../../contract/policy.ts';
import { AgentTestEnvironment, MIGRATION } from '../agent-test-environment.ts';

/** A guest that writes three times as fast as the simulated link carries. */
const FAST = { memoryMiB: 4_096, dirtyMiBps: 3_300, workingSetMiB: 1_500 };

/** Copied, held for a moment, and released; resolves when it has ended. */
async function cutOver(guest: ConstructorParameters<typeof AgentTestEnvironment>[0], policy: Partial<Policy> = {}) {
  const environment = new AgentTestEnvironment(guest);
  const task = environment.task('precopy');
  await environment.movers.start({ ...task, policy: { ...task.policy, autoConverge: false, ...policy } });
  await environment.until(() => environment.reportOf('precopy')?.kind === 'succeeded');
  await environment.clock.advance(1_000);
  await environment.movers.cutover(MIGRATION, `${MIGRATION}.cutover.source.1`);
  await environment.until(() => (environment.reportOf('cutover')?.kind ?? 'progress') !== 'progress', 300_000);
  const report = environment.reportOf('cutover')!;
  return { environment, report, decisions: report.decisions };
}

const told = (decisions: Decision[]) => decisions.map(({ event, detail }) => [event, detail.limitMs ?? detail.because]);

describe('a released copy', () => {
  it('needs no decision when its passes shrink', async () => {
    const { report, decisions } = await cutOver({ memoryMiB: 4_096, dirtyMiBps: 100, workingSetMiB: 500 });
    expect(report).toMatchObject({ kind: 'succeeded', result: { downtimeMs: expect.any(Number) } });
    expect(decisions).toEqual([]);
    expect((report as { result: { downtimeMs: number } }).result.downtimeMs).toBeLessThanOrEqual(40);
  });

  it('that makes no net progress goes past the budget where the policy says so, and tells why', async () => {
    const { report, decisions } = await cutOver(FAST, { onNonConvergence: 'exceed' });
    expect(report).toMatchObject({ kind: 'succeeded' });
    expect((report as { result: { downtimeMs: number } }).result.downtimeMs).toBeGreaterThan(300);
    expect(decisions.at(-1)).toMatchObject({
      event: 'downtime limit raised',
      detail: {
        because: expect.stringMatching(/^no net progress for 2 passes/),
        bytesRemaining: expect.any(Number),
        bytesPerSecond: expect.any(Number),
        dirtyBytesPerSecond: expect.any(Number),
        budgetMs: 300,
      },
    });
  });

  it('is given up where it does not, after waiting for the guest to calm down; the VM runs on', async () => {
    const { environment, report, decisions } = await cutOver(FAST);
    expect(report).toMatchObject({ kind: 'failed', failure: { code: 'NotConverging' } });
    expect(told(decisions).at(-1)).toEqual([
      'given up',
      expect.stringMatching(/^no net progress for \d+ passes, 4\d s$/),
    ]);
    expect([environment.at('source'), environment.at('destination')]).toEqual([
      'running (migration canceled)',
      'absent',
    ]);
    expect(environment.mailbox.commitRecord).toBe('OPEN');
  });

  it('is given up at the deadline, which counts the work and not the hold', async () => {
    const { report } = await cutOver(FAST, { deadlineSeconds: 20 });
    expect(report).toMatchObject({ kind: 'failed', failure: { code: 'DeadlineExceeded' } });
    const activeMs = report.kind === 'failed' ? Number(report.failure.detail?.activeMs) : Number.NaN;
    expect(activeMs).toBeGreaterThan(20_000);
    expect(activeMs).toBeLessThan(20_500);
  });

  it('stays within the budget, step by step, when that is enough', async () => {
    // Passes stay at 300 MiB: 270 ms on the simulated link.
    const guest = { ...FAST, workingSetMiB: 300 };
    const { report, decisions } = await cutOver(guest, { blackoutBudgetMs: 500 });
    expect(report).toMatchObject({ kind: 'succeeded' });
    expect(told(decisions)).toEqual([
      ['downtime limit raised', 40],
      ['downtime limit raised', 80],
      ['downtime limit raised', 160],
      ['downtime limit raised', 320],
    ]);
  });
});
