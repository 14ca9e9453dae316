import type { MiddlewareObj } from '@middy/core';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import type { Problem } from '../../contract/api.ts';
import { FAILURES, type FailureCode, HandoffError } from '../../contract/errors.ts';
import { logFieldsOf, logger } from '../platform/log.ts';

const STATUS: Partial<Record<FailureCode, number>> = {
  InvalidInput: 400,
  UnknownHost: 404,
  UnknownMigration: 404,
  UnknownEvacuation: 404,
  VmBusy: 409,
  HostNotAccepting: 409,
  HostInUse: 409,
  AlreadyHandedOver: 409,
  NotInDoubt: 409,
  NotHeld: 409,
  IdempotencyKeyReused: 422,
};

export function json(
  statusCode: number,
  body: unknown,
  headers: Record<string, string> = {},
): APIGatewayProxyStructuredResultV2 {
  return { statusCode, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
}

/** RFC 9457: every error answer states what is wrong and what would be right, with a stable code. */
export function problem(error: unknown): APIGatewayProxyStructuredResultV2 {
  const body = describe(error);
  return { ...json(body.status, body), headers: { 'content-type': 'application/problem+json' } };
}

function describe(error: unknown): Problem {
  if (error instanceof HandoffError) {
    const { errors, migrationId } = (error.detail ?? {}) as Pick<Problem, 'errors' | 'migrationId'>;
    return {
      type: `urn:handoff:problem:${error.code}`,
      title: FAILURES[error.code],
      status: STATUS[error.code] ?? 500,
      code: error.code,
      detail: error.message,
      ...(errors !== undefined && { errors }),
      ...(migrationId !== undefined && { migrationId }),
    };
  }
  // middy's own errors (an unknown route, a body that is not JSON) carry the status for the client.
  const status = (error as { statusCode?: number }).statusCode ?? 500;
  if (status === 404) {
    return {
      type: 'urn:handoff:problem:UnknownRoute',
      title: 'There is no such route.',
      status,
      code: 'UnknownRoute',
      detail: String((error as Error).message),
    };
  }
  if (status < 500) {
    const detail =
      status === 415 ? 'The body must be JSON, with content-type: application/json.' : 'The body is not valid JSON.';
    return {
      type: 'urn:handoff:problem:InvalidInput',
      title: FAILURES.InvalidInput,
      status: 400,
      code: 'InvalidInput',
      detail,
    };
  }
  return {
    type: 'about:blank',
    title: 'An error inside Handoff.',
    status: 500,
    code: 'Internal',
    detail: 'The request was not carried out, or its outcome is unknown; see the logs of the function handoff-api.',
  };
}

/** Turns every error of a handler into a problem document. */
export const problems: MiddlewareObj<APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2> = {
  onError: async (request) => {
    const answer = problem(request.error);
    if ((answer.statusCode ?? 500) >= 500)
      logger.error('Request failed', { error: request.error as Error, ...logFieldsOf(request.event) });
    return answer;
  },
};
