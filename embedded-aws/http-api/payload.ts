import { Buffer } from 'node:buffer';
import { type Caller, type Json, type JsonObject, notImplemented } from '../core/service.ts';
import type { WireRequest, WireResponse } from '../endpoint/wire-format.ts';
import type { RouteMatch } from './routes.ts';

export interface ApiContext {
  apiId: string;
  account: string;
  stage: string;
  requestId: string;
  /** Milliseconds since the epoch. */
  now: number;
}

/** The event of payload format 2.0 that a Lambda integration gets. */
export function lambdaEvent(
  request: WireRequest,
  { route, pathParameters }: RouteMatch,
  caller: Caller,
  context: ApiContext,
): JsonObject {
  const { cookie, ...headers } = request.headers;
  const isBase64Encoded = request.body !== '' && !isText(headers['content-type']);
  const query = queryParameters(request.query);
  return {
    version: '2.0',
    routeKey: route.routeKey,
    rawPath: request.path,
    rawQueryString: request.query,
    ...(cookie === undefined ? {} : { cookies: cookie.split(/;\s*/) }),
    headers,
    ...(Object.keys(query).length === 0 ? {} : { queryStringParameters: query }),
    requestContext: {
      accountId: context.account,
      apiId: context.apiId,
      authorizer: { iam: iamIdentity(caller, context) },
      domainName: headers.host ?? '',
      domainPrefix: context.apiId,
      http: {
        method: request.method,
        path: request.path,
        protocol: 'HTTP/1.1',
        sourceIp: '127.0.0.1',
        userAgent: headers['user-agent'] ?? '',
      },
      requestId: context.requestId,
      routeKey: route.routeKey,
      stage: context.stage,
      time: commonLogTime(context.now),
      timeEpoch: context.now,
    },
    ...(Object.keys(pathParameters).length === 0 ? {} : { pathParameters }),
    ...(request.body === ''
      ? {}
      : { body: isBase64Encoded ? Buffer.from(request.body).toString('base64') : request.body }),
    isBase64Encoded,
  };
}

/**
 * The response a function's answer means: an object with `statusCode` says all of it; anything else is a JSON body.
 * undefined when the answer is not a response API Gateway understands.
 */
export function httpResponse(answer: Json): WireResponse | undefined {
  if (answer === null || typeof answer !== 'object' || Array.isArray(answer) || answer.statusCode === undefined) {
    const body = typeof answer === 'string' ? answer : JSON.stringify(answer);
    return { status: 200, headers: { 'content-type': 'application/json' }, body };
  }
  const { statusCode, headers, body, isBase64Encoded, cookies } = answer;
  if (isBase64Encoded === true || cookies !== undefined) throw notImplemented('binary bodies and cookies of HTTP APIs');
  const status = Number(statusCode);
  if (!Number.isInteger(status) || status < 100 || status > 599) return undefined;
  if (body !== undefined && body !== null && typeof body !== 'string') return undefined;
  const given = Object.entries((headers ?? {}) as JsonObject).map(([name, value]) => [
    name.toLowerCase(),
    String(value),
  ]);
  return {
    status,
    headers: { 'content-type': 'text/plain;charset=UTF-8', ...Object.fromEntries(given) },
    body: body ?? '',
  };
}

/** API Gateway's own answers, such as 403 Forbidden. */
export const gatewayResponse = (status: number, message: string): WireResponse => ({
  status,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ message }),
});

/** Bodies of all other content types, HTML forms included, reach the function in base64. */
const isText = (contentType = '') => /^(text\/|application\/(json|javascript|xml)\b)/i.test(contentType);

/** Values of a parameter that comes several times are joined by commas. */
function queryParameters(query: string): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(query)) {
    result[name] = Object.hasOwn(result, name) ? `${result[name]},${value}` : value;
  }
  return result;
}

const iamIdentity = (caller: Caller, { account }: ApiContext): JsonObject => ({
  accountId: account,
  callerId: caller.userId,
  cognitoIdentity: null,
  principalOrgId: null,
  userArn: caller.arn,
  userId: caller.userId,
});

/** `12/Mar/2026:19:03:58 +0000`. */
function commonLogTime(ms: number): string {
  const [, day, month, year, time] = /^\w+, (\d+) (\w+) (\d+) ([\d:]+)/.exec(new Date(ms).toUTCString()) ?? [];
  return `${day}/${month}/${year}:${time} +0000`;
}
