import { AwsError, type JsonObject, notImplemented, type Service } from '../core/service.ts';

export interface PublishedMessage {
  subject?: string;
  message: string;
}

/** Amazon SNS without subscribers: topics keep what was published, to be read in this process. */
export interface Topics extends Service {
  create(arn: string): void;
  /** What was published to each topic, oldest first, by the topics' names. */
  all(): Record<string, readonly PublishedMessage[]>;
}

export function createTopics({ uuid }: { uuid: () => string }): Topics {
  const topics = new Map<string, PublishedMessage[]>();
  const topicOf = (input: JsonObject) => {
    const topic = topics.get(String(input.TopicArn));
    if (topic === undefined) throw new AwsError('NotFound', `Topic does not exist: ${String(input.TopicArn)}.`, 404);
    return topic;
  };

  return {
    create: (arn) => void topics.set(arn, []),
    all: () => Object.fromEntries([...topics].map(([arn, messages]) => [arn.split(':')[5], messages])),
    requiredPermissions(operation, input) {
      if (operation !== 'Publish') throw notImplemented(`sns:${operation}`);
      return [{ action: 'sns:Publish', resource: String(input.TopicArn) }];
    },
    async call(_operation, input) {
      const subject = input.Subject === undefined ? {} : { subject: String(input.Subject) };
      topicOf(input).push({ ...subject, message: String(input.Message) });
      return { MessageId: uuid() };
    },
  };
}
