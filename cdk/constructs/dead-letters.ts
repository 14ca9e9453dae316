import { Duration } from 'aws-cdk-lib';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

/** A rule's target is called for so long, and so often, before its event becomes a dead letter. */
export const EVENT_RETRIES = { maxEventAge: Duration.hours(2), retryAttempts: 20 };

/** The queues for what could not be delivered, one for each sender. An alarm watches all of them. */
export class DeadLetters extends Construct {
  readonly queues: Queue[] = [];

  queue(id: string): Queue {
    const queue = new Queue(this, id, { retentionPeriod: Duration.days(14), enforceSSL: true });
    this.queues.push(queue);
    return queue;
  }
}
