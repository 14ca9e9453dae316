import { parseMailboxItem } from '../../contract/mailbox.ts';
import { AwsError, type JsonObject } from '../../embedded-aws/core/service.ts';
import type { Interceptor } from '../../embedded-aws/embedded-aws.ts';

export type AwsCall = Parameters<Interceptor>[0];

/** The functions that faults and mutations name: the stack's own names of them, without `handoff-`. */
export const FUNCTIONS = [
  'acquire-cutover-slot',
  'admit',
  'decide-ownership',
  'dispatch',
  'on-command-ended',
  'relay',
  'reserve-memory',
  'resume-stopped-execution',
  'settle',
  'sweep',
] as const;

/**
 * The point of a call of AWS, by its caller: a function, `machine` or `host`. The most important writes have points of their own:
 * `commit` (by the mover), `revoke` (of a commit record, by a state machine) and `unlock` (of a VM).
 */
export type AwsPoint = (typeof FUNCTIONS)[number] | 'stream' | 'machine' | 'host' | 'commit' | 'revoke' | 'unlock';

/** Undefined for a caller that faults do not name. */
export function pointOf({ service, operation, input, caller }: AwsCall): AwsPoint | undefined {
  if (service === 'streams') return 'stream';
  const who = callerName(caller.userId);
  if (operation === 'DeleteItem' && (input.Key as KeyOf)?.sk?.S === 'LOCK') return 'unlock';
  const commitRecord =
    operation === 'UpdateItem' && parseMailboxItem(String((input.Key as KeyOf)?.sk?.S))?.kind === 'commit';
  if (commitRecord && who === 'host') return 'commit';
  return commitRecord && who === 'machine' ? 'revoke' : who;
}
type KeyOf = { sk?: { S?: string } } | undefined;

type CallerName = (typeof FUNCTIONS)[number] | 'machine' | 'host';

const callerNames = new Map<string, CallerName | undefined>();

function callerName(userId: string): CallerName | undefined {
  if (!callerNames.has(userId)) callerNames.set(userId, sessionName(userId.slice(userId.indexOf(':') + 1)));
  return callerNames.get(userId);
}

function sessionName(session: string): CallerName | undefined {
  if (session.startsWith('mi-')) return 'host';
  if (session === 'StepFunctions') return 'machine';
  const name = functionName(session);
  return FUNCTIONS.find((known) => known === name);
}

/** A function's name as faults have it, from its name on AWS, such as `handoff-decide-ownership`. */
export function functionName(nameOnAws: string): string | undefined {
  return /^handoff-(.+)$/.exec(nameOnAws)?.[1];
}

/** The id of the migration that a call names, if it names one. */
export function migrationIdIn({ input }: AwsCall): string | undefined {
  const text = JSON.stringify(input);
  return (
    /\\"migrationId\\":\\"([\w-]+)\\"/.exec(text)?.[1] ?? /"(?:COMMIT|MIGRATION|REQUESTS)#([\w-]+)"/.exec(text)?.[1]
  );
}

/** A transient error, under a name that the service uses. */
export function transientError({ service }: AwsCall, choice: number): AwsError {
  const errors: Record<string, readonly [string, number][]> = {
    dynamodb: [
      ['InternalServerError', 500],
      ['ProvisionedThroughputExceededException', 400],
      ['RequestLimitExceeded', 400],
    ],
    lambda: [
      ['ServiceException', 500],
      ['TooManyRequestsException', 429],
      ['SdkClientException', 500],
    ],
    ssm: [['InternalServerError', 500]],
  };
  const possible = errors[service] ?? [['InternalServerError', 500] as const];
  const [code, status] = possible[Math.floor(choice * possible.length)]!;
  return new AwsError(code, 'simulated: the service failed', status);
}

export const throttlingError = (call: AwsCall): AwsError => {
  if (call.service === 'lambda') return new AwsError('TooManyRequestsException', 'simulated: rate exceeded', 429);
  return new AwsError('ThrottlingException', 'simulated: rate exceeded', 400);
};

/** The client's error when no answer arrives. */
export function timeoutError(call: AwsCall): AwsError {
  const byMachine = pointOf(call) === 'machine' || pointOf(call) === 'revoke';
  return new AwsError(byMachine ? 'SdkClientException' : 'TimeoutError', 'simulated: no answer', 500);
}

/** The stages whose results a host can forge. */
export const FORGEABLE_STAGES = ['preflight', 'precopy', 'cutover', 'verify', 'inspect', 'abort'] as const;

/** A result that a host forges for a task that its peer was given. */
export function forgedResult(stage: (typeof FORGEABLE_STAGES)[number]): JsonObject {
  const check = { name: 'gone', passed: true, found: 'forged' };
  switch (stage) {
    case 'preflight':
    case 'verify':
      return { stage, checks: [check] };
    case 'precopy':
      return {
        stage,
        precopy: 'completed',
        guaranteedHoldSeconds: 0,
        bytesRemaining: 0,
        bytesTransferred: 0,
        copyMs: 1,
      };
    case 'cutover':
      return { stage, downtimeMs: 1, commitMs: 1, switchMs: 1, bytesTransferred: 0 };
    case 'inspect':
      return { stage, evidence: { state: 'absent', detail: 'forged', jobActive: false, mover: 'none' } };
    case 'abort':
      return {
        stage,
        done: 'forged',
        evidence: { state: 'absent', detail: 'forged', jobActive: false, mover: 'none' },
      };
  }
}
