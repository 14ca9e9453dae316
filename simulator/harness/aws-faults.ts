import { AwsError, type JsonObject } from '../../embedded-aws/core/service.ts';
import type { Interceptor } from '../../embedded-aws/embedded-aws.ts';

export type Call = Parameters<Interceptor>[0];

/** Who makes a call, as faults name it: a function by its file's name, `machine`, `host`; and the writes that matter most. */
export function pointOf({ service, operation, input, caller }: Call): string | undefined {
  if (service === 'streams') return 'stream';
  const who = whoIs(caller.userId);
  if (operation === 'DeleteItem' && (input.Key as KeyOf)?.sk?.S === 'LOCK') return 'unlock';
  const commitRecord = operation === 'UpdateItem' && String((input.Key as KeyOf)?.sk?.S).startsWith('COMMIT#');
  if (commitRecord && who === 'host') return 'commit';
  return commitRecord && who === 'machine' ? 'revoke' : who;
}
type KeyOf = { sk?: { S?: string } } | undefined;

const known = new Map<string, string | undefined>();

function whoIs(userId: string): string | undefined {
  if (!known.has(userId)) known.set(userId, nameOf(userId.slice(userId.indexOf(':') + 1)));
  return known.get(userId);
}

function nameOf(session: string): string | undefined {
  if (session.startsWith('mi-')) return 'host';
  if (session === 'StepFunctions') return 'machine';
  return /^handoff-(.+)$/.exec(session)?.[1];
}

/** The migration a call is about, where it says so. */
export function migrationOf({ input }: Call): string | undefined {
  const text = JSON.stringify(input);
  return (
    /\\"migrationId\\":\\"([\w-]+)\\"/.exec(text)?.[1] ?? /"(?:COMMIT|MIGRATION|REQUESTS)#([\w-]+)"/.exec(text)?.[1]
  );
}

/** Errors that pass, by the service's own names. */
export function passingError({ service }: Call, choice: number): AwsError {
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

export const throttled = (call: Call): AwsError => {
  if (call.service === 'lambda') return new AwsError('TooManyRequestsException', 'simulated: rate exceeded', 429);
  return new AwsError('ThrottlingException', 'simulated: rate exceeded', 400);
};

/** What a client makes of an answer that does not come. */
export function noAnswer(call: Call): AwsError {
  const byMachine = pointOf(call) === 'machine' || pointOf(call) === 'revoke';
  return new AwsError(byMachine ? 'SdkClientException' : 'TimeoutError', 'simulated: no answer', 500);
}

/** What a host can lie about. */
export const LIES = ['preflight', 'precopy', 'cutover', 'verify', 'inspect', 'abort'] as const;

/** A result in place of the host that was asked, by one that was not. */
export function forgedResult(stage: (typeof LIES)[number]): JsonObject {
  const check = { name: 'gone', passed: true, found: 'a lie' };
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
      return { stage, evidence: { state: 'absent', detail: 'a lie', jobActive: false, mover: 'none' } };
    case 'abort':
      return {
        stage,
        done: 'a lie',
        evidence: { state: 'absent', detail: 'a lie', jobActive: false, mover: 'none' },
      };
  }
}
