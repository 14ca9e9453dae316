import { beforeEach, describe, expect, it } from 'vitest';
import { AwsError, type Caller, type JsonObject } from '../../../../embedded-aws/core/service.ts';
import { createEventBridge, type EventBridge } from '../../../../embedded-aws/events/event-bridge.ts';
import type { Target } from '../../../../embedded-aws/events/targets.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

const FUNCTION = 'arn:aws:lambda:eu-north-1:111122223333:function:watch';
const MACHINE = 'arn:aws:states:eu-north-1:111122223333:stateMachine:evacuate';
const QUEUE = 'arn:aws:sqs:eu-north-1:111122223333:dead';
const caller: Caller = { arn: 'arn:me', userId: 'me', statements: [] };

describe('EventBridge', () => {
  let clock: VirtualClock;
  let stop: AbortController;
  let bus: EventBridge;
  let calls: { service: string; operation: string; input: JsonObject; caller: string; at: number }[];
  let answers: (() => JsonObject)[];
  let reports: string[];

  beforeEach(() => {
    clock = new VirtualClock();
    stop = new AbortController();
    calls = [];
    answers = [];
    reports = [];
    let ids = 0;
    bus = createEventBridge({
      clock,
      random: () => 1,
      uuid: () => `id-${++ids}`,
      region: 'eu-north-1',
      account: '111122223333',
      signal: stop.signal,
      callerForRole: (roleArn, session) => ({ arn: `${roleArn}/${session}`, userId: 'x', statements: [] }),
      report: (message) => reports.push(message),
      callAws: async (service, operation, input, { arn }) => {
        calls.push({ service, operation, input, caller: arn, at: clock.now() });
        return answers.shift()?.() ?? {};
      },
    });
  });

  const fail =
    (code: string, status = 400) =>
    (): never => {
      throw new AwsError(code, 'no', status);
    };
  const rule = (target: Target, pattern: JsonObject = { source: ['handoff'] }) =>
    bus.putRule({ name: 'rule', arn: 'arn:rule', pattern, targets: [target] });
  const emit = () => bus.emit({ source: 'handoff', detailType: 'Asked', detail: { host: 'a' }, resources: ['r'] });

  it('hands a matching event to a function, in the envelope of EventBridge', async () => {
    rule({ Arn: FUNCTION });
    emit();
    await clock.settle();
    expect(calls).toMatchObject([{ service: 'lambda', operation: 'Invoke', caller: 'events.amazonaws.com' }]);
    expect(calls[0]?.input).toMatchObject({ FunctionName: FUNCTION, InvocationType: 'Event' });
    expect(JSON.parse(String(calls[0]?.input.Payload))).toEqual({
      version: '0',
      id: 'id-1',
      'detail-type': 'Asked',
      source: 'handoff',
      account: '111122223333',
      time: '2026-01-01T00:00:00Z',
      region: 'eu-north-1',
      resources: ['r'],
      detail: { host: 'a' },
    });
  });

  it('does not hand over what does not match', async () => {
    rule({ Arn: FUNCTION }, { source: ['other'] });
    emit();
    await clock.settle();
    expect(calls).toEqual([]);
  });

  it("starts a state machine as the target's role, with the part of the event it asks for", async () => {
    rule({ Arn: MACHINE, RoleArn: 'arn:role', InputPath: '$.detail' });
    emit();
    await clock.settle();
    expect(calls).toMatchObject([
      {
        service: 'states',
        operation: 'StartExecution',
        caller: 'arn:role/events',
        input: { stateMachineArn: MACHINE, input: '{"host":"a"}' },
      },
    ]);
  });

  it('tries again what may pass, later each time', async () => {
    answers = [fail('ThrottlingException'), fail('InternalFailure', 500)];
    rule({ Arn: FUNCTION, DeadLetterConfig: { Arn: QUEUE } });
    emit();
    await clock.runUntilIdle();
    expect(calls.map(({ at }) => at - (calls[0]?.at ?? 0))).toEqual([0, 1_000, 3_000]);
    expect(calls.every(({ service }) => service === 'lambda')).toBe(true);
  });

  it.each([
    [
      'exhausted',
      { MaximumRetryAttempts: 2 },
      'ThrottlingException',
      { EXHAUSTED_RETRY_CONDITION: 'MaximumRetryAttempts', RETRY_ATTEMPTS: '2' },
      3,
    ],
    [
      'too old',
      { MaximumEventAgeInSeconds: 60 },
      'ThrottlingException',
      { EXHAUSTED_RETRY_CONDITION: 'MaximumEventAgeInSeconds', RETRY_ATTEMPTS: '5' },
      6,
    ],
    ['refused', {}, 'AccessDeniedException', { ERROR_CODE: 'AccessDeniedException', RETRY_ATTEMPTS: '0' }, 1],
  ])('sends an event that is %s to the dead-letter queue', async (_, RetryPolicy, code, attributes, attempts) => {
    answers = Array.from({ length: attempts }, () => fail(code));
    rule({ Arn: FUNCTION, RetryPolicy, DeadLetterConfig: { Arn: QUEUE } });
    emit();
    await clock.runUntilIdle();
    expect(calls).toHaveLength(attempts + 1);
    const letter = calls.at(-1);
    expect(letter).toMatchObject({ service: 'sqs', operation: 'SendMessage' });
    expect(letter?.input.QueueUrl).toBe('https://sqs.eu-north-1.amazonaws.com/111122223333/dead');
    expect(JSON.parse(String(letter?.input.MessageBody))).toMatchObject({ detail: { host: 'a' } });
    for (const [name, StringValue] of Object.entries({ RULE_ARN: 'arn:rule', TARGET_ARN: FUNCTION, ...attributes })) {
      expect(letter?.input.MessageAttributes).toMatchObject({ [name]: { StringValue } });
    }
  });

  it('says so when it loses an event for want of a queue', async () => {
    answers = [fail('AccessDeniedException')];
    rule({ Arn: FUNCTION });
    emit();
    await clock.settle();
    expect(reports).toEqual([`arn:rule lost an event for ${FUNCTION}: AccessDeniedException: no`]);
  });

  it('runs rules and schedules at their rate until it is stopped', async () => {
    bus.putRule({ name: 'tick', arn: 'arn:tick', schedule: 'rate(5 minutes)', targets: [{ Arn: FUNCTION }] });
    bus.putSchedule({
      arn: 'arn:schedule',
      expression: 'rate(1 hour)',
      target: { Arn: FUNCTION, RoleArn: 'arn:role', Input: '{"sweep":true}' },
    });
    await clock.advance(3_600_000);
    expect(calls.filter(({ caller }) => caller === 'events.amazonaws.com')).toHaveLength(12);
    const [sweep, ...more] = calls.filter(({ caller }) => caller === 'arn:role/scheduler');
    expect(more).toEqual([]);
    expect(sweep?.input.Payload).toBe('{"sweep":true}');
    stop.abort();
    await clock.settle();
    expect(clock.pending).toBe(0);
  });

  it.each(['cron(0 12 * * ? *)', 'rate(1 minutes)', 'rate(0 minutes)', 'at(2026-01-01T00:00:00)'])(
    'fails by name on the schedule %s',
    (schedule) => {
      expect(() => bus.putRule({ name: 'r', arn: 'a', schedule, targets: [] })).toThrow(schedule);
    },
  );

  it('fails by name on a target it can not reach', () => {
    expect(() => rule({ Arn: 'arn:aws:kinesis:eu-north-1:111122223333:stream/s' })).toThrow('kinesis');
  });

  describe('PutEvents', () => {
    const put = (...Entries: JsonObject[]) => bus.call('PutEvents', { Entries }, caller);
    const entry = { Source: 'handoff', DetailType: 'Asked', Detail: '{"host":"b"}' };

    it('delivers good entries and answers for each bad one', async () => {
      rule({ Arn: FUNCTION });
      const answer = await put(
        entry,
        { ...entry, Detail: 'no json' },
        { ...entry, Source: 'aws.ssm' },
        { Source: 'handoff' },
      );
      await clock.settle();
      expect(answer).toMatchObject({
        FailedEntryCount: 3,
        Entries: [
          { EventId: 'id-1' },
          { ErrorCode: 'MalformedDetail' },
          { ErrorCode: 'NotAuthorizedForSourceException' },
          { ErrorCode: 'InvalidArgument' },
        ],
      });
      expect(calls).toHaveLength(1);
    });

    it('asks for permission entry by entry, with its source', () => {
      expect(bus.requiredPermissions('PutEvents', { Entries: [entry] })).toEqual([
        {
          action: 'events:PutEvents',
          resource: 'arn:aws:events:eu-north-1:111122223333:event-bus/default',
          context: { 'events:source': 'handoff', 'events:detail-type': 'Asked' },
        },
      ]);
      expect(() => bus.requiredPermissions('PutRule', {})).toThrow('events:PutRule');
    });

    it('takes one to ten entries, on the default bus', async () => {
      await expect(put()).rejects.toThrow('1 to 10');
      await expect(put(...Array.from({ length: 11 }, () => entry))).rejects.toThrow('1 to 10');
      await expect(put({ ...entry, EventBusName: 'mine' })).rejects.toThrow('the event bus mine');
    });
  });
});
