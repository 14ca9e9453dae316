import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import type { CallAws, Caller } from '../core/service.ts';
import { type ClientConfiguration, clientConfiguration } from '../endpoint/client-configuration.ts';
import { answerDirectly, type DirectRoute } from '../endpoint/direct.ts';
import type { InProcessTransport } from '../endpoint/in-process.ts';

/** One run of a function: the caller that services see, and the runtime that its code gets. */
export interface Invocation {
  functionName: string;
  caller: Caller;
  /** Where its SDK clients hand their requests. */
  transport: InProcessTransport;
  /** How they are answered without any request. */
  directly?: CallAws | undefined;
  now: () => number;
  sleep: (ms: number) => Promise<void>;
  random: () => number;
  uuid: () => string;
  /** Takes a line that the function wrote. */
  log: (line: string) => void;
  /** Set when the answer is given or the time is up: AWS freezes the sandbox then. */
  ended: boolean;
}

const running = new AsyncLocalStorage<Invocation>();

export const runInvocation = <T>(invocation: Invocation, body: () => T): T => running.run(invocation, body);

export const currentInvocation = (): Invocation | undefined => running.getStore();

/** The role session of the function whose code is running; undefined outside of function code. */
export const currentCaller = (): Caller | undefined => running.getStore()?.caller;

function callingInvocation(): Invocation {
  const invocation = running.getStore();
  if (invocation === undefined)
    throw new Error('A function called AWS while it was being loaded; call from its handler.');
  if (invocation.ended) throw new Error(`${invocation.functionName} called AWS after its invocation had ended.`);
  return invocation;
}

function directRoute(): DirectRoute | undefined {
  const { directly, caller } = callingInvocation();
  return directly && { call: directly, caller };
}

const transport: InProcessTransport = {
  metadata: { handlerProtocol: 'http/1.1' },
  async handle(request) {
    return callingInvocation().transport.handle(request);
  },
  updateHttpClientConfig() {},
  httpHandlerConfigs: () => ({}),
  destroy() {},
};

/** Where function code finds its runtime: `globalThis[Symbol.for('embedded-aws.runtime')]`. Absent on AWS. */
const RUNTIME = Symbol.for('embedded-aws.runtime');

/** What function code is given. A function that needs none of it ignores it; its SDK clients then need an endpoint. */
interface FunctionRuntime {
  /** Options for every AWS SDK client that the function makes. */
  client: ClientConfiguration;
  /** To be called with each client; it lets calls bypass the wire, if the embedded AWS was started so (endpoint/direct.ts). */
  made(client: unknown): void;
  /** The clock of the running invocation, in ms since the epoch. */
  now(): number;
  /** Resolves after `ms` milliseconds of that clock. */
  sleep(ms: number): Promise<void>;
  /** A number in [0, 1). */
  random(): number;
  uuid(): string;
}

/**
 * Gives function code its clients, clock, identifiers and random numbers. All of it asks which invocation is running, so bundles are loaded
 * once and serve every embedded AWS of the process.
 */
export function provideRuntime(region: string): void {
  const runtime: FunctionRuntime = {
    client: clientConfiguration({
      region,
      credentials: { accessKeyId: 'function', secretAccessKey: 'function' },
      requestHandler: transport,
    }),
    made: (client) => answerDirectly(client, directRoute),
    now: () => (running.getStore()?.now ?? Date.now)(),
    sleep: (ms) => callingInvocation().sleep(ms),
    random: () => (running.getStore()?.random ?? Math.random)(),
    uuid: () => (running.getStore()?.uuid ?? randomUUID)(),
  };
  Object.assign(globalThis, { [RUNTIME]: runtime });
}
