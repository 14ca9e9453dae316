import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { describe, expect, it } from 'vitest';
import { MIB } from '../../../common/units.ts';
import type { Calibration } from '../../../contract/api.ts';
import { commitRecordKey, parseMailboxItem, reportKey } from '../../../contract/mailbox.ts';
import { requestIdOf } from '../../../contract/names.ts';
import { CONTRACT_VERSION } from '../../../contract/version.ts';
import { linkKey } from '../../../lambdas/platform/control-keys.ts';
import { type ControlPlane, eachWithControlPlane } from './control-plane.ts';

/** Writes faster than the link carries, over more memory than a blackout's worth. */
const BUSY = { name: 'busy', dirtyMiBps: 2_000, workingSetMiB: 2_048 };
const NO_WAY = { policy: { autoConverge: false } };

async function withGuests(plane: ControlPlane): Promise<void> {
  await plane.register(['kvm-a', 'kvm-b']);
  plane.fleet.addGuest('kvm-a', { name: 'web' });
  plane.fleet.addGuest('kvm-a', BUSY);
}

/** What was ordered, by stage. */
const ordered = async (plane: ControlPlane): Promise<unknown[]> =>
  (await plane.mailbox()).flatMap(({ task }) => (task as { stage?: unknown } | undefined)?.stage ?? []);

describe('a migration', () => {
  const plane = eachWithControlPlane(withGuests);

  it('says what it measured and forecast, in its record and in the console, and is made by that plan', async () => {
    const id = await plane().migrate('web');
    const view = await plane().ended(id);
    expect(view).toMatchObject({
      status: 'SUCCEEDED',
      measured: {
        dirtyBytesPerSecond: 20 * MIB,
        memoryBytes: 4_096 * MIB,
        linkBytesPerSecond: 1_100 * MIB,
        linkSource: 'measured',
        linkAgeSeconds: 0,
      },
      forecast: { convergence: 'likely', plan: { method: 'plain' } },
      result: { activeMs: expect.any(Number), postCopy: false },
    });
    const precopy = (await plane().mailbox()).find(
      ({ sk }) => parseMailboxItem(sk)?.kind === 'task' && sk.includes('.precopy.'),
    );
    expect((precopy?.task as { plan: unknown }).plan).toEqual(view.forecast?.plan);
    const { output } = await plane().describe(view.executionArn);
    expect(JSON.parse(String(output))).toMatchObject({ status: 'SUCCEEDED' });
  });

  it('whose policy cannot be kept is refused before anything is touched, with what would do', async () => {
    const view = await plane().ended(await plane().migrate('busy', NO_WAY));
    expect(view).toMatchObject({ status: 'FAILED', failure: { code: 'PolicyNotMet' } });
    expect(view.checks?.filter(({ passed }) => !passed).map(({ name }) => name)).toEqual(['policy']);
    expect(view.failure?.message).toContain('onNonConvergence: postcopy');
    expect(await ordered(plane())).toEqual(['preflight', 'preflight']);
  });

  it('that fails another check too is refused for that', async () => {
    plane().fleet.addGuest('kvm-b', { ...BUSY, memoryMiB: 1_024 });
    const view = await plane().ended(await plane().migrate('busy', NO_WAY));
    expect(view.failure?.code).toBe('PreflightFailed');
  });
});

describe('a forecast', () => {
  const plane = eachWithControlPlane(withGuests);
  const forecast = async (vm: string, wish = {}) =>
    plane().ended(await plane().migrate(vm, { ...wish, forecastOnly: true }));

  it('is made without anything being moved, reserved or left', async () => {
    const view = await forecast('web');
    expect(view).toMatchObject({ status: 'FORECASTED', forecastOnly: true, forecast: { plan: { method: 'plain' } } });
    expect(view.runsOn).toBeUndefined();
    expect(view.timeline.map(({ event }) => event)).not.toContain('precopy task sent');
    expect(await ordered(plane())).toEqual(['preflight', 'preflight']);
    expect(plane().runsOn('web')).toEqual(['kvm-a']);
    expect(await plane().executions()).toMatchObject([{ status: 'SUCCEEDED' }]);
    // And does not stand in the way of the move.
    expect(await plane().ended(await plane().migrate('web'))).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
  });

  it('of a move that would be refused says both', async () => {
    const view = await forecast('busy', NO_WAY);
    expect(view).toMatchObject({ status: 'FORECASTED', forecast: { convergence: 'only-slowed' } });
    expect(view.failure).toBeUndefined();
    expect(view.checks?.filter(({ passed }) => !passed)).toMatchObject([{ name: 'policy', role: 'source' }]);
  });

  it('of a VM that cannot be measured fails with its checks', async () => {
    const copy = plane().fleet.host('kvm-a').mustHave('web');
    plane().fleet.host('kvm-a').change(copy, 'paused', 'paused (user)');
    const view = await forecast('web');
    expect(view).toMatchObject({ status: 'FAILED', failure: { code: 'PreflightFailed' } });
    expect(view.failure?.message).toContain('domain-running: ');
    expect(view.forecast).toBeUndefined();
  });

  it('can never come to a handover, whoever orders it', async () => {
    const id = await plane().migrate('web', { forecastOnly: true });
    await plane().reaches(id, 'PREFLIGHT');
    const commitRecord = (await plane().mailbox()).find(({ sk }) => sk === commitRecordKey('', id).sk);
    expect(commitRecord?.state).toBe('REVOKED');
    const view = await plane().ended(id);
    const dispatch = await plane().aws.callAws(
      'lambda',
      'Invoke',
      {
        FunctionName: 'handoff-dispatch',
        Payload: JSON.stringify({
          migrationId: id,
          stage: 'precopy',
          role: 'source',
          taskToken: 'none',
          plan: view.forecast?.plan,
        }),
      },
      plane().aws.adminCaller,
    );
    expect(JSON.stringify(dispatch)).toContain('only to be forecast');
    expect(await ordered(plane())).toEqual(['preflight', 'preflight']);
  });
});

describe('the link', () => {
  const plane = eachWithControlPlane(withGuests);

  it('is remembered, with its age, for when it cannot be measured', async () => {
    await plane().ended(await plane().migrate('web', { forecastOnly: true }));
    await plane().clock.advance(3_600_000);
    plane().fleet.host('kvm-a').spec.linkTestsPass = false;
    const { status, measured, checks } = await plane().ended(await plane().migrate('web', { forecastOnly: true }));
    expect(status).toBe('FORECASTED');
    expect(measured).toMatchObject({ linkBytesPerSecond: 1_100 * MIB, linkSource: 'known' });
    expect(measured?.linkAgeSeconds).toBeGreaterThanOrEqual(3_600);
    expect(measured?.linkAgeSeconds).toBeLessThan(3_700);
    expect(checks?.find(({ name }) => name === 'link')?.found).toContain('60 min ago');
    // What was not measured is not remembered as if it had been.
    const kept = (await plane().control()).find(({ pk }) => pk === linkKey('kvm-a', 'kvm-b').pk);
    expect(Date.parse(String(kept?.at))).toBeLessThan(plane().clock.now() - 3_600_000);
  });

  it('of which nothing is known is a failed check', async () => {
    plane().fleet.host('kvm-a').spec.linkTestsPass = false;
    const view = await plane().ended(await plane().migrate('web'));
    expect(view).toMatchObject({ status: 'FAILED', failure: { code: 'PreflightFailed' } });
    expect(view.checks?.filter(({ passed }) => !passed)).toMatchObject([{ name: 'link', role: 'source' }]);
  });
});

describe('afterwards', () => {
  const plane = eachWithControlPlane(withGuests);

  it('forecasts are held against outcomes', async () => {
    const calibration = async () => (await plane().http<Calibration>('GET', '/calibration')).body;
    expect(await calibration()).toEqual({ migrations: 0, byMethod: {} });
    await plane().ended(await plane().migrate('web'));
    await plane().ended(await plane().migrate('busy', NO_WAY));
    const { migrations, time, byMethod } = await calibration();
    // Of the two only one was moved.
    expect(migrations).toBe(1);
    expect(time).toMatchObject({ observed: 1, within: expect.any(Number) });
    expect(Object.keys(byMethod)).toEqual(['plain']);
    expect(await plane().http('GET', '/calibration?last=0')).toMatchObject({ status: 400 });
  });

  it('decisions are in the timeline once, however often and in whatever order they are reported', async () => {
    const id = await plane().migrate('web', { forecastOnly: true });
    await plane().ended(id);
    const { mailbox, dynamo } = plane().host('kvm-a');
    const requestId = requestIdOf(id, 'preflight', 'source', 1);
    const decision = (event: string, second: number) => ({
      at: `2026-02-01T00:00:0${second}.000Z`,
      event,
      detail: { because: 'a test' },
    });
    const both = [decision('throttled more', 1), decision('limit raised', 2)];
    for (const decisions of [both.slice(0, 1), both, both.slice(0, 1), both]) {
      await dynamo.send(
        new PutCommand({
          TableName: plane().aws.outputs.MailboxTable,
          Item: {
            ...reportKey(mailbox, requestId),
            report: {
              version: CONTRACT_VERSION,
              requestId,
              migrationId: id,
              stage: 'preflight',
              role: 'source',
              sequence: 7,
              at: '2026-02-01T00:00:03.000Z',
              kind: 'failed',
              failure: { code: 'AgentFailed', message: 'late' },
              decisions,
            },
          },
        }),
      );
      await plane().clock.advance(5_000);
    }
    const { timeline, status } = await plane().show(id);
    expect(status).toBe('FORECASTED');
    expect(timeline.filter(({ detail }) => detail?.because === 'a test')).toEqual(
      both.map((each) => ({ ...each, detail: { ...each.detail, host: 'kvm-a' } })),
    );
  });
});
