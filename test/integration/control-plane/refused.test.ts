import { GetCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { reportKey, taskKey } from '../../../contract/mailbox.ts';
import { requestIdOf } from '../../../contract/names.ts';
import { CONTRACT_VERSION } from '../../../contract/version.ts';
import { eachWithControlPlane } from './control-plane.ts';

describe('bad input', () => {
  const plane = eachWithControlPlane(async (one) => {
    await one.register(['kvm-a', 'kvm-b']);
    one.fleet.addGuest('kvm-a', { name: 'web' });
  });
  const counted: Record<string, unknown>[] = [];
  beforeEach(() => {
    counted.length = 0;
    // The embedded AWS leaves metrics out. In AWS they are lines that CloudWatch reads.
    vi.stubEnv('POWERTOOLS_METRICS_DISABLED', 'false');
    vi.spyOn(process.stdout, 'write').mockImplementation((line) => {
      if (String(line).includes('_aws')) counted.push(JSON.parse(String(line)) as Record<string, unknown>);
      return true;
    });
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
  });

  /** Changes each order of preflight on the source between the control plane and the agent. */
  function tamper(change: (task: Record<string, unknown>) => Record<string, unknown>): void {
    plane().aws.intercept(async ({ operation, input }, next) => {
      const requestId = String((input.Parameters as { requestId?: string[] } | undefined)?.requestId?.[0]);
      if (operation === 'SendCommand' && requestId.includes('.preflight.source')) {
        const { dynamo, mailbox } = plane().host('kvm-a');
        const TableName = plane().aws.outputs.MailboxTable;
        const { Item } = await dynamo.send(new GetCommand({ TableName, Key: taskKey(mailbox, requestId) }));
        await dynamo.send(new PutCommand({ TableName, Item: { ...Item, task: change(Item!.task) } }));
      }
      return next();
    });
  }

  it.each([
    ['of another version', 'TaskInvalid', { version: CONTRACT_VERSION + 1 }],
    ['that is malformed', 'TaskInvalid', { policy: 'fast' }],
    ['for another host', 'TaskMisdirected', { hostId: 'kvm-z' }],
    ['that is too late', 'TaskExpired', { expiresAt: '2001-01-01T00:00:00.000Z' }],
  ])('an order %s is refused, reported and counted', async (_, code, change) => {
    tamper((task) => ({ ...task, ...change }));
    const id = await plane().migrate('web');
    expect(await plane().ended(id)).toMatchObject({ status: 'FAILED', failure: { code } });
    plane().aws.intercept(undefined);
    expect(counted.filter((line) => line.TaskRefused !== undefined)).toContainEqual(
      expect.objectContaining({ TaskRefused: 1, code }),
    );
    expect(plane().fleet.host('kvm-a').mustHave('web').detail).toBe('running (booted)');
  });

  it.each([
    ['malformed', () => ({ kind: 'lies' })],
    [
      'unknown request',
      (report: object) => ({ ...report, requestId: requestIdOf('nobody-1', 'precopy', 'source', 1) }),
    ],
    ['not the host that was asked', (report: object) => report],
  ])('a report rejected as "%s" is counted', async (why, change) => {
    const id = await plane().migrate('web', { policy: { bandwidthMiBps: 50 } });
    await plane().reaches(id, 'PRECOPY');
    const requestId = requestIdOf(id, 'precopy', 'source', 1);
    const { dynamo, mailbox } = plane().host('kvm-b');
    const report = {
      version: CONTRACT_VERSION,
      requestId,
      migrationId: id,
      stage: 'precopy',
      role: 'source',
      sequence: 10_000,
      at: new Date(plane().clock.now()).toISOString(),
      kind: 'failed',
      failure: { code: 'CopyFailed', message: 'a lie' },
    };
    const TableName = plane().aws.outputs.MailboxTable;
    await dynamo.send(
      new PutCommand({ TableName, Item: { ...reportKey(mailbox, requestId), report: change(report) } }),
    );
    await plane().clock.advance(2_000);
    expect(counted).toContainEqual(expect.objectContaining({ ReportRejected: 1, why }));
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED' });
  });
});
