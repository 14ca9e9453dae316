import type { CallAws, Caller } from '../core/service.ts';
import { answerAwsJson } from './aws-json.ts';
import { answerSts, isSts } from './sts.ts';
import type { HandleWire, UnauthenticatedCaller, WireRequest, WireResponse } from './wire-format.ts';

export interface Wire {
  readonly call: CallAws;
  readonly account: string;
  /** The caller to whom an access key was given; undefined for an unknown key. */
  callerForAccessKey(accessKey: string): Caller | undefined;
  /** The HTTP API's routes: everything that is not a call of an AWS service. */
  httpApi(request: WireRequest, caller: Caller): Promise<WireResponse>;
}

/**
 * The protocols of the embedded AWS: the AWS JSON ones, recognized by their X-Amz-Target header, STS's GetCallerIdentity, and
 * the HTTP API. Signatures are not verified, since this is a tool for one's own machine; an access key must be known.
 * Errors that are no AwsError are faults of the embedded AWS and are thrown.
 */
export function createWire({ call, account, callerForAccessKey, httpApi }: Wire): HandleWire {
  const identify = ({ authorization }: WireRequest['headers']): Caller | UnauthenticatedCaller => {
    if (authorization === undefined) return 'MissingAuthenticationTokenException';
    const accessKey = /\bCredential=([^/,\s]+)\//.exec(authorization)?.[1];
    return (accessKey && callerForAccessKey(accessKey)) || 'UnrecognizedClientException';
  };
  let requests = 0;

  return async (request, known) => {
    requests += 1;
    const caller = known ?? identify(request.headers);
    const response = await answer(request, caller);
    return { ...response, headers: { ...response.headers, 'x-amzn-requestid': requestId(requests) } };
  };

  function answer(request: WireRequest, caller: Caller | UnauthenticatedCaller): Promise<WireResponse> {
    if (request.headers['x-amz-target'] !== undefined) return answerAwsJson(request, caller, call);
    if (isSts(request)) return Promise.resolve(answerSts(request, caller, account));
    if (typeof caller === 'string') return Promise.resolve(forbidden());
    return httpApi(request, caller);
  }
}

/** What an HTTP API with IAM authorization says to strangers. */
function forbidden(): WireResponse {
  return { status: 403, headers: { 'content-type': 'application/json' }, body: '{"message":"Forbidden"}' };
}

/** Counted, not random, so that a simulation is the same each time. */
function requestId(count: number): string {
  return `00000000-0000-4000-8000-${count.toString(16).padStart(12, '0')}`;
}
