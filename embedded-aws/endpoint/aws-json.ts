import { crc32 } from 'node:zlib';
import { AwsError, type CallAws, type Caller, type JsonObject } from '../core/service.ts';
import type { UnauthenticatedCaller, WireRequest, WireResponse } from './wire-format.ts';

/** X-Amz-Target's first part -> the service's endpoint prefix. */
const SERVICES: Record<string, string> = {
  AWSStepFunctions: 'states',
  DynamoDB_20120810: 'dynamodb',
  AmazonSSM: 'ssm',
  AWSEvents: 'events',
  Logs_20140328: 'logs',
};

const REJECTIONS: Record<UnauthenticatedCaller, string> = {
  MissingAuthenticationTokenException: 'Request is missing Authentication Token',
  UnrecognizedClientException: 'The security token included in the request is invalid.',
};

/** The protocols AWS JSON 1.0 and 1.1; they differ in their content type alone. */
export async function answerAwsJson(
  request: WireRequest,
  caller: Caller | UnauthenticatedCaller,
  call: CallAws,
): Promise<WireResponse> {
  const [target = '', operation = ''] = request.headers['x-amz-target']!.split('.');
  const service = Object.hasOwn(SERVICES, target) ? SERVICES[target]! : undefined;
  const contentType = request.headers['content-type'] ?? 'application/x-amz-json-1.0';
  try {
    if (service === undefined || operation === '') throw unknownTarget(request.headers['x-amz-target']!);
    if (typeof caller === 'string') throw new AwsError(caller, REJECTIONS[caller]);
    return respond(200, await call(service, operation, parse(request.body), caller), contentType);
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    return failed(service ?? 'coral', error, contentType);
  }
}

/** How an error looks on the wire. */
export function failed(service: string, error: AwsError, contentType = 'application/x-amz-json-1.0'): WireResponse {
  const body = { __type: `com.amazonaws.${service}#${error.code}`, message: error.message, ...error.extra };
  return respond(error.status, body, contentType);
}

function unknownTarget(target: string): AwsError {
  const known = Object.keys(SERVICES).join(', ');
  return new AwsError('UnknownOperationException', `X-Amz-Target ${target} is not an operation of ${known}.`);
}

function parse(body: string): JsonObject {
  try {
    const input: unknown = body === '' ? {} : JSON.parse(body);
    if (typeof input === 'object' && input !== null && !Array.isArray(input)) return input as JsonObject;
  } catch {
    // Said below.
  }
  throw new AwsError('SerializationException', 'The request body is not a JSON object.');
}

function respond(status: number, content: JsonObject, contentType: string): WireResponse {
  const body = JSON.stringify(content);
  // DynamoDB's clients compare the checksum with the body; others ignore it.
  return { status, headers: { 'content-type': contentType, 'x-amz-crc32': String(crc32(body)) }, body };
}
