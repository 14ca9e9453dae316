import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { AwsError, type JsonObject } from '../../../embedded-aws/core/service.ts';
import { createDynamoDb } from '../../../embedded-aws/dynamodb/service.ts';
import { clientConfiguration } from '../../../embedded-aws/endpoint/client-configuration.ts';
import { inProcessTransport } from '../../../embedded-aws/endpoint/in-process.ts';
import { createWire } from '../../../embedded-aws/endpoint/wire.ts';
import { VirtualClock } from '../../../simulator/virtual-clock.ts';
import { admin } from '../embedded-aws/dynamodb/fixture.ts';

export const TABLE = 'Mailbox';

/** An embedded DynamoDB with an empty Mailbox table, a client for it, and a switch on the wire between them. */
export async function mailboxTable(clock = new VirtualClock()) {
  const db = createDynamoDb({ clock, region: 'eu-central-1', account: '123456789012' });
  await db.call(
    'CreateTable',
    {
      TableName: TABLE,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [
        { AttributeName: 'pk', AttributeType: 'S' },
        { AttributeName: 'sk', AttributeType: 'S' },
      ],
      KeySchema: [
        { AttributeName: 'pk', KeyType: 'HASH' },
        { AttributeName: 'sk', KeyType: 'RANGE' },
      ],
    },
    admin,
  );
  /**
   * What happens to calls: `lost` never reach the table, `unanswered` do, and their answers never come back; nor do those of
   * `denied`, in whose place comes an error that the client tries again after.
   */
  const wireState: { fault: (operation: string) => 'none' | 'lost' | 'unanswered' | 'denied' } = {
    fault: () => 'none',
  };
  const handle = createWire({
    account: '123456789012',
    callerForAccessKey: () => admin,
    httpApi: async () => ({ status: 404, headers: {}, body: '' }),
    call: async (_service, operation, input, caller) => {
      const fault = wireState.fault(operation);
      if (fault === 'lost') return new Promise<JsonObject>(() => {});
      const answer = db.call(operation, input, caller);
      if (fault === 'none') return answer;
      await answer.catch(() => {});
      if (fault === 'denied') throw new AwsError('InternalServerError', 'It was made all the same.', 500);
      return new Promise<JsonObject>(() => {});
    },
  });
  const configuration = clientConfiguration({
    region: 'eu-central-1',
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
    requestHandler: inProcessTransport(handle, () => undefined),
  });
  const client = DynamoDBDocumentClient.from(new DynamoDBClient(configuration));
  /** As on a host: it tries again by itself, in real time. */
  const retrying = DynamoDBDocumentClient.from(new DynamoDBClient({ ...configuration, maxAttempts: 3 }));
  return { clock, client, retrying, wire: wireState };
}
