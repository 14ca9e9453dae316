import { randomUUID } from 'node:crypto';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { SFNClient } from '@aws-sdk/client-sfn';
import { SSMClient } from '@aws-sdk/client-ssm';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';

/**
 * What a function takes from the place it runs in. In AWS that is the Lambda environment, and nothing is set here. The
 * embedded AWS runs all functions in one process. Before it loads them it sets these at `globalThis[RUNTIME]`
 * (embedded-aws/lambda/invocation.ts): clients that reach it without a socket, and, in simulations, time, identifiers and random numbers.
 */
interface Runtime {
  client?: Record<string, unknown>;
  /** Called with each client. */
  made?: (client: unknown) => void;
  now?: () => number;
  sleep?: (ms: number) => Promise<void>;
  random?: () => number;
  uuid?: () => string;
}

const RUNTIME = Symbol.for('embedded-aws.runtime');

const given = (): Runtime => (globalThis as unknown as Record<symbol, Runtime | undefined>)[RUNTIME] ?? {};

/** Milliseconds since the epoch. */
export const now = (): number => (given().now ?? Date.now)();
export const isoNow = (): string => new Date(now()).toISOString();
/** Resolves after `ms` milliseconds. */
export const sleep = (ms: number): Promise<void> => (given().sleep ?? pause)(ms);
const pause = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms));
/** A number in [0, 1). */
export const random = (): number => (given().random ?? Math.random)();
export const uuid = (): string => (given().uuid ?? randomUUID)();

function made<Client>(client: Client): Client {
  given().made?.(client);
  return client;
}

export const dynamo = made(
  DynamoDBDocumentClient.from(new DynamoDBClient({ ...given().client }), {
    marshallOptions: { removeUndefinedValues: true },
  }),
);
export const events = made(new EventBridgeClient({ ...given().client }));
export const sfn = made(new SFNClient({ ...given().client }));
export const ssm = made(new SSMClient({ ...given().client }));

/** A setting every function of the stack needs; a missing one is a fault of the stack and stops the function at once. */
export function requireEnv(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`The environment variable ${name} is not set.`);
  return value;
}
