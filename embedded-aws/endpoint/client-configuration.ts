import type { InProcessTransport } from './in-process.ts';

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
}

/** Options for any AWS SDK client that is to reach the embedded AWS through `requestHandler`. */
export type ClientConfiguration = ReturnType<typeof clientConfiguration>;

export const clientConfiguration = (given: {
  region: string;
  credentials: Credentials;
  requestHandler: InProcessTransport;
}) => ({
  ...given,
  // Signatures are not verified (wire.ts), and computing one takes a tenth of a call's time: only the access key is needed.
  signer: {
    sign: async <R extends { headers: Record<string, string> }>(request: R): Promise<R> => {
      request.headers.authorization = `AWS4-HMAC-SHA256 Credential=${given.credentials.accessKeyId}/`;
      return request;
    },
  },
  // Between attempts the SDK waits on timers of its own, which a virtual clock knows nothing of.
  maxAttempts: 1,
  // With all of these given the SDK reads no configuration file, which a virtual clock could not wait for.
  accountIdEndpointMode: 'disabled' as const,
  authSchemePreference: [],
  disableClockSkewCorrection: true,
  endpoint: 'http://embedded-aws',
  retryMode: 'standard',
  useDualstackEndpoint: false,
  useFipsEndpoint: false,
  userAgentAppId: 'embedded-aws',
});
