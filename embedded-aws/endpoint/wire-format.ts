import type { Caller } from '../core/service.ts';

/** An HTTP request as it came over the wire, or would have. Header names are in lower case. */
export interface WireRequest {
  readonly method: string;
  readonly path: string;
  /** As in the URL, without the `?`; empty if there is none. */
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface WireResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Answers a request; in process the caller is known, over HTTP the request's access key identifies it. */
export type HandleWire = (request: WireRequest, caller?: Caller) => Promise<WireResponse>;

/** Why a request has no caller, as an error of the AWS JSON protocols. */
export type UnauthenticatedCaller = 'MissingAuthenticationTokenException' | 'UnrecognizedClientException';
