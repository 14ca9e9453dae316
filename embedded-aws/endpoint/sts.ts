import type { Caller } from '../core/service.ts';
import type { UnauthenticatedCaller, WireRequest, WireResponse } from './wire-format.ts';

/** STS speaks the older Query protocol: a form asks, XML answers. */
export function isSts({ method, path, headers }: WireRequest): boolean {
  return (
    method === 'POST' && path === '/' && /^application\/x-www-form-urlencoded\b/.test(headers['content-type'] ?? '')
  );
}

/** Implements GetCallerIdentity, which everybody tries first; no permission is needed for it. */
export function answerSts(request: WireRequest, caller: Caller | UnauthenticatedCaller, account: string): WireResponse {
  const action = new URLSearchParams(request.body).get('Action');
  if (typeof caller === 'string') {
    const code = caller === 'UnrecognizedClientException' ? 'InvalidClientTokenId' : 'MissingAuthenticationToken';
    return failure(403, code, 'The security token included in the request is missing or invalid.');
  }
  if (action !== 'GetCallerIdentity') {
    return failure(501, 'NotImplemented', `The embedded AWS does not implement ${action} of the Query protocol.`);
  }
  return xml(
    200,
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>' +
      `<Arn>${escaped(caller.arn)}</Arn><UserId>${escaped(caller.userId)}</UserId><Account>${account}</Account>` +
      '</GetCallerIdentityResult></GetCallerIdentityResponse>',
  );
}

function failure(status: number, code: string, message: string): WireResponse {
  return xml(
    status,
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>' +
      `<Code>${code}</Code><Message>${escaped(message)}</Message></Error></ErrorResponse>`,
  );
}

function xml(status: number, body: string): WireResponse {
  return { status, headers: { 'content-type': 'text/xml' }, body };
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
