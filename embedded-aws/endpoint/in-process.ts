import type { Caller } from '../core/service.ts';
import type { HandleWire, WireResponse } from './wire-format.ts';

/** What an AWS SDK client hands its request handler; a part of smithy's HttpRequest. */
interface SdkRequest {
  method: string;
  path: string;
  query?: Record<string, string | string[] | null>;
  headers: Record<string, string>;
  body?: unknown;
}

interface SdkResponse {
  statusCode: number;
  headers: Record<string, string>;
  body: Uint8Array;
}

/** Fits the `requestHandler` option of every AWS SDK v3 client. */
export interface InProcessTransport {
  readonly metadata: { handlerProtocol: string };
  handle(request: SdkRequest): Promise<{ response: SdkResponse }>;
  updateHttpClientConfig(): void;
  httpHandlerConfigs(): Record<string, never>;
  destroy(): void;
}

/**
 * Lets AWS SDK clients call the embedded AWS without a socket: a call ends within promises alone, so a virtual clock can
 * tell when all is quiet. When `currentCaller` returns none, the access key in the client's signature identifies the caller.
 */
export function inProcessTransport(
  handleWire: HandleWire,
  currentCaller: () => Caller | undefined,
): InProcessTransport {
  return {
    metadata: { handlerProtocol: 'http/1.1' },
    async handle({ method, path, query = {}, headers, body }) {
      const request = { method, path, query: queryString(query), headers: lowerCased(headers), body: text(body) };
      const answer = await handleWire(request, currentCaller());
      return { response: sdkResponse(answer) };
    },
    updateHttpClientConfig() {},
    httpHandlerConfigs: () => ({}),
    destroy() {},
  };
}

export const sdkResponse = ({ status, headers, body }: WireResponse): SdkResponse => ({
  statusCode: status,
  headers: { ...headers },
  body: Buffer.from(body),
});

function queryString(query: NonNullable<SdkRequest['query']>): string {
  const parameters = new URLSearchParams();
  for (const [name, values] of Object.entries(query)) {
    for (const value of [values].flat()) parameters.append(name, value ?? '');
  }
  return parameters.toString();
}

function lowerCased(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

const decoder = new TextDecoder();

function text(body: unknown): string {
  if (body === undefined || body === null) return '';
  if (typeof body === 'string') return body;
  if (body instanceof Uint8Array) return decoder.decode(body);
  throw new TypeError('The in-process transport takes a body of text or bytes, not a stream.');
}
