import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { systemClock } from '../common/clock.ts';
import { sharedCredentials } from './credentials.ts';
import type { Environment } from './environment.ts';
import { dynamoMailbox, type Mailbox } from './mailbox.ts';

/** Timeouts of each of the SDK's attempts; also a host far from its region gets an answer well within them. */
const CONNECT_TIMEOUT_MS = 1_000;
const REQUEST_TIMEOUT_MS = 2_000;

/** This host's mailbox in DynamoDB, over connections that stay open. */
export function hostMailbox({ region, table, mailbox }: Environment): Mailbox {
  const credentials = sharedCredentials();
  const first = new DynamoDBClient({
    region,
    credentials,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      throwOnRequestTimeout: true,
    },
  });
  // The same handler, so that the commit uses the same open connections. The commit has its own retries.
  const second = new DynamoDBClient({
    region,
    credentials,
    requestHandler: first.config.requestHandler,
    maxAttempts: 1,
  });
  const document = (client: DynamoDBClient) =>
    DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } });
  return dynamoMailbox({ client: document(first), commitClient: document(second), table, mailbox, clock: systemClock });
}
