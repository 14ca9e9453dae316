import { GetCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import { expect, it } from 'vitest';
import { commitRecordKey, reportKey, taskKey } from '../../../../contract/mailbox.ts';
import type { AgentTask } from '../../../../contract/tasks.ts';
import { simulatedNode } from '../../../../simulator/hosts/node.ts';
import { AgentTestEnvironment, MIGRATION } from '../../agent/agent-test-environment.ts';
import { mailboxTable, TABLE } from '../../agent/dynamo.ts';

const NODE = 'mi-0123456789abcdef0';
const HOST = `AROAHOST:${NODE}`;
const SCRIPT = `: "\${SSM_requestId:?}"
export HANDOFF_MAILBOX_TABLE='${TABLE}'
export HANDOFF_ROLE_ID='AROAHOST'
export AWS_REGION='eu-central-1'
exec handoff-agent run "$SSM_requestId"`;

it('carries a migration through the mailbox in DynamoDB, in process and on a virtual clock', async () => {
  const environment = new AgentTestEnvironment();
  const { clock } = environment;
  const { client } = await mailboxTable(clock);
  const node = simulatedNode(environment.fleet, 'kvm-a', { clock, dynamo: () => client });
  const put = (Item: Record<string, unknown>) => client.send(new PutCommand({ TableName: TABLE, Item }));
  const run = async (task: AgentTask) => {
    await put({ ...taskKey(HOST, task.requestId), task });
    const step = {
      script: SCRIPT,
      env: { SSM_requestId: task.requestId, AWS_SSM_INSTANCE_ID: NODE },
      timeoutSeconds: 120,
    };
    const ran = node.run(step, new AbortController().signal);
    await clock.advance(20_000);
    expect(await ran).toMatchObject({ exitCode: 0 });
    const { Item } = await client.send(new GetCommand({ TableName: TABLE, Key: reportKey(HOST, task.requestId) }));
    return Item?.report;
  };
  await put({ ...commitRecordKey(HOST, MIGRATION), state: 'OPEN' });

  expect(await run(environment.task('precopy'))).toMatchObject({ kind: 'succeeded', result: { precopy: 'held' } });
  expect(await run(environment.task('cutover'))).toMatchObject({ kind: 'succeeded', result: { stage: 'cutover' } });
  expect([environment.at('source'), environment.at('destination')]).toEqual(['absent', 'running (migrated)']);
  const commitRecord = await client.send(new GetCommand({ TableName: TABLE, Key: commitRecordKey(HOST, MIGRATION) }));
  expect(commitRecord.Item).toMatchObject({ state: 'COMMITTED', committedBy: expect.stringContaining(MIGRATION) });
});

it('ends with the exit code the agent has', async () => {
  const environment = new AgentTestEnvironment();
  const { client } = await mailboxTable(environment.clock);
  const node = simulatedNode(environment.fleet, 'kvm-a', { clock: environment.clock, dynamo: () => client });
  const step = { script: SCRIPT, env: { SSM_requestId: 'web01-5f2c.verify.source.1' }, timeoutSeconds: 120 };
  const signal = new AbortController().signal;

  expect(await node.run(step, signal)).toMatchObject({
    exitCode: 78,
    stderr: expect.stringContaining('AWS_SSM_INSTANCE_ID'),
  });
  const known = { ...step, env: { ...step.env, AWS_SSM_INSTANCE_ID: NODE } };
  expect(await node.run(known, signal)).toMatchObject({ exitCode: 66 });
});
