import { type CallAws, type Caller, type Json, type JsonObject, notImplemented } from '../core/service.ts';
import { queueUrl } from '../messages/queues.ts';
import type { RetryPolicy } from './delivery.ts';
import type { TargetInput } from './input.ts';

/** A target of a rule or a schedule, as the template declares it. */
export interface Target extends TargetInput {
  Arn: string;
  RoleArn?: string;
  RetryPolicy?: RetryPolicy;
  DeadLetterConfig?: { Arn?: string };
}

export type SendToTarget = (target: Target, input: Json) => Promise<unknown>;

/** The call each kind of target is reached by. */
const CALLS: Record<string, (arn: string, body: string) => [service: string, operation: string, input: JsonObject]> = {
  lambda: (arn, body) => ['lambda', 'Invoke', { FunctionName: arn, InvocationType: 'Event', Payload: body }],
  states: (arn, body) => ['states', 'StartExecution', { stateMachineArn: arn, input: body }],
  sqs: (arn, body) => ['sqs', 'SendMessage', { QueueUrl: queueUrl(arn), MessageBody: body }],
  sns: (arn, body) => ['sns', 'Publish', { TopicArn: arn, Message: body }],
};

/** Rules reach these by the target's own resource-based policy, without a role. */
const BY_RESOURCE_POLICY = ['lambda', 'sqs', 'sns'];

const servicePrincipal = (principal: string): Caller => ({
  arn: principal,
  userId: principal,
  // It stands for the resource-based policies in the template, which are not enforced here.
  statements: [{ Effect: 'Allow', Action: '*', Resource: '*' }],
});
const EVENTS = servicePrincipal('events.amazonaws.com');

/** Ways to reach the targets of rules and schedules, as the role each of them names. */
export function targetSender({
  callAws,
  callerForRole,
}: {
  callAws: CallAws;
  callerForRole: (roleArn: string, session: string) => Caller;
}) {
  const callFor = (arn: string) => {
    const call = CALLS[arn.split(':')[2] ?? ''];
    if (call === undefined || arn.startsWith('arn:aws:scheduler:::')) throw notImplemented(`the event target ${arn}`);
    return call;
  };
  const send = (arn: string, input: Json, caller: Caller) =>
    callAws(...callFor(arn)(arn, JSON.stringify(input)), caller);
  const needsRole = (arn: string) => new Error(`The event target ${arn} needs a RoleArn.`);

  return {
    /** Fails by name on a target that can't be reached. */
    check(target: Target): void {
      callFor(target.Arn);
    },
    rule: (async (target, input) => {
      const byPolicy = BY_RESOURCE_POLICY.includes(target.Arn.split(':')[2] ?? '');
      if (target.RoleArn === undefined && !byPolicy) throw needsRole(target.Arn);
      return send(target.Arn, input, target.RoleArn === undefined ? EVENTS : callerForRole(target.RoleArn, 'events'));
    }) satisfies SendToTarget,
    schedule: (async (target, input) => {
      if (target.RoleArn === undefined) throw needsRole(target.Arn);
      return send(target.Arn, input, callerForRole(target.RoleArn, 'scheduler'));
    }) satisfies SendToTarget,
    deadLetter: (queueArn: string, body: Json, attributes: Record<string, string>) =>
      callAws(
        'sqs',
        'SendMessage',
        {
          QueueUrl: queueUrl(queueArn),
          MessageBody: JSON.stringify(body),
          MessageAttributes: Object.fromEntries(
            Object.entries(attributes).map(([key, value]) => [key, { DataType: 'String', StringValue: value }]),
          ),
        },
        EVENTS,
      ),
  };
}
