import { AwsError, type Json, type JsonObject, notImplemented, type Service } from '../core/service.ts';

export interface QueuedMessage {
  body: string;
  attributes: Record<string, string>;
}

/** Amazon SQS as far as dead letters need it: queues keep messages, to be read in this process. Nothing consumes them. */
export interface Queues extends Service {
  create(arn: string): void;
  /** The messages in each queue, oldest first, by the queues' names. */
  all(): Record<string, readonly QueuedMessage[]>;
}

/** The URL by which SQS's API names the queue of an ARN. */
export function queueUrl(arn: string): string {
  const [, , , region, account, name] = arn.split(':');
  return `https://sqs.${region}.amazonaws.com/${account}/${name}`;
}

export function createQueues({ uuid }: { uuid: () => string }): Queues {
  const queues = new Map<string, { arn: string; messages: QueuedMessage[] }>();
  const queueOf = (input: JsonObject) => {
    const queue = queues.get(String(input.QueueUrl));
    if (queue === undefined) {
      throw new AwsError('QueueDoesNotExist', `The specified queue does not exist: ${String(input.QueueUrl)}.`);
    }
    return queue;
  };

  return {
    create: (arn) => void queues.set(queueUrl(arn), { arn, messages: [] }),
    all: () => Object.fromEntries([...queues.values()].map(({ arn, messages }) => [arn.split(':')[5], messages])),
    requiredPermissions(operation, input) {
      if (operation !== 'SendMessage') throw notImplemented(`sqs:${operation}`);
      return [{ action: 'sqs:SendMessage', resource: queueOf(input).arn }];
    },
    async call(_operation, input) {
      const attributes = Object.entries((input.MessageAttributes ?? {}) as Record<string, { StringValue?: Json }>).map(
        ([name, { StringValue }]) => [name, String(StringValue)] as const,
      );
      queueOf(input).messages.push({ body: String(input.MessageBody), attributes: Object.fromEntries(attributes) });
      return { MessageId: uuid() };
    },
  };
}
