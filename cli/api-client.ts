import { existsSync, readFileSync } from 'node:fs';
import { Sha256 } from '@aws-crypto/sha256-js';
import { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import { SignatureV4 } from '@smithy/signature-v4';
import { Problem } from '../contract/api.ts';

/** Written by a running embedded AWS: its URL, region and credentials. */
export const LOCAL_FILE = '.handoff/local.json';

export interface Access {
  url: string;
  region: string;
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
  /** Only of an embedded AWS. */
  embedded?: {
    /** URL at which its AWS services answer. */
    endpoint: string;
    /** The agents' log files on this machine, by host; none of simulated hosts. */
    agentLogs: Record<string, string>;
  };
}

/** A refusal by Handoff, with the problem document of the API. */
export class ApiProblem extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail);
    this.name = problem.code;
    this.problem = problem;
  }
}

/** The API gave no answer, or one that is not its own. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

/**
 * Finds the API: the given URL, then HANDOFF_API, then an embedded AWS that runs from this folder. Credentials come from
 * the usual AWS places (environment, profile, SSO); an embedded AWS brings its own.
 */
export async function findAccess(given: string | undefined): Promise<Access> {
  const url = given ?? process.env.HANDOFF_API;
  if (url === undefined || url === 'local') {
    if (!existsSync(LOCAL_FILE)) {
      throw new Unreachable(
        'No API given: use --api URL or set HANDOFF_API (the stack output ApiUrl), or start an embedded AWS with "npm run local".',
      );
    }
    return JSON.parse(readFileSync(LOCAL_FILE, 'utf8')) as Access;
  }
  const region = /\.execute-api\.([a-z0-9-]+)\.amazonaws\.com/.exec(url)?.[1] ?? process.env.AWS_REGION ?? 'us-east-1';
  try {
    return { url, region, credentials: await fromNodeProviderChain()() };
  } catch (cause) {
    throw new Unreachable(`No AWS credentials to sign requests to ${url} with: ${(cause as Error).message}.`, {
      cause,
    });
  }
}

export class ApiClient {
  readonly #access: Access;
  readonly #signer: SignatureV4;

  constructor(access: Access) {
    this.#access = access;
    this.#signer = new SignatureV4({
      service: 'execute-api',
      region: access.region,
      credentials: access.credentials,
      sha256: Sha256,
    });
  }

  /** Fails with ApiProblem or Unreachable. */
  async call<T>(
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    path: string,
    options: { body?: unknown; query?: Record<string, string>; headers?: Record<string, string> } = {},
  ): Promise<T> {
    const url = new URL(path, this.#access.url);
    for (const [key, value] of Object.entries(options.query ?? {})) url.searchParams.set(key, value);
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    const signed = await this.#signer.sign({
      method,
      protocol: url.protocol,
      hostname: url.hostname,
      ...(url.port !== '' && { port: Number(url.port) }),
      path: url.pathname,
      query: options.query ?? {},
      headers: {
        host: url.host,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...options.headers,
      },
      ...(body !== undefined && { body }),
    });
    let response: Response;
    try {
      response = await fetch(url, { method, headers: signed.headers, ...(body !== undefined && { body }) });
    } catch (error) {
      throw new Unreachable(`${url.origin} does not answer (${String((error as Error).cause ?? error)}).`, {
        cause: error,
      });
    }
    const text = await response.text();
    if (response.ok) return JSON.parse(text) as T;
    const problem = Problem.safeParse(safeJson(text));
    if (problem.success) throw new ApiProblem(problem.data);
    throw new Unreachable(`${url.origin} answered ${response.status}: ${text.slice(0, 300)}`);
  }
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
