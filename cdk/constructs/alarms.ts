import { Duration } from 'aws-cdk-lib';
import {
  Alarm,
  ComparisonOperator,
  type IMetric,
  MathExpression,
  Metric,
  TreatMissingData,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Topic } from 'aws-cdk-lib/aws-sns';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

/** What a person should be woken for, or look at in the morning. Subscribe to the topic to hear of it. */
export class Alarms extends Construct {
  readonly topic: Topic;

  constructor(scope: Construct, id: string, props: { service: string; deadLetters: readonly IQueue[] }) {
    super(scope, id);
    this.topic = new Topic(this, 'Topic', { displayName: 'Handoff alarms', enforceSSL: true });
    const counted = (metricName: string, dimensions: Record<string, string> = {}) =>
      new Metric({
        namespace: 'Handoff',
        metricName,
        dimensionsMap: { service: props.service, ...dimensions },
        statistic: 'Sum',
        period: Duration.minutes(1),
      });
    this.alarm(
      'NeedsOperator',
      'A VM is locked until a person has said where it is: handoff list --status NEEDS_OPERATOR',
      counted('MigrationEnded', { status: 'NEEDS_OPERATOR' }),
    );
    this.alarm(
      'ReportsRejected',
      'A host wrote what is no report of its own; the logs of relay name its mailbox',
      counted('ReportRejected'),
    );
    this.alarm(
      'CommandsFailed',
      'SSM could not run the agent on a host; the failed migration says where and why',
      counted('CommandFailed'),
    );
    this.alarm(
      'TasksRefused',
      'An agent was given an order it may not act on: of another version, for another host, too late or malformed; the timeline says which',
      counted('TaskRefused'),
    );
    this.alarm(
      'PendingCleanups',
      'A migration was settled while a host was silent, or what it left there needs a person: handoff audit',
      counted('PendingCleanup'),
    );
    this.alarm(
      'LeaksReported',
      'Something is held and its owner is not known: handoff audit',
      counted('LeakFound', { outcome: 'reported' }),
    );
    const visible = props.deadLetters.map(
      (queue, index) =>
        [
          `m${index}`,
          queue.metricApproximateNumberOfMessagesVisible({ statistic: 'Maximum', period: Duration.minutes(1) }),
        ] as const,
    );
    this.alarm(
      'DeadLetters',
      'An event or a report could not be delivered; it lies in one of the dead-letter queues',
      new MathExpression({
        expression: visible.map(([name]) => name).join(' + '),
        usingMetrics: Object.fromEntries(visible),
        label: 'Messages in the dead-letter queues',
        period: Duration.minutes(1),
      }),
    );
  }

  private alarm(id: string, alarmDescription: string, metric: IMetric): void {
    new Alarm(this, id, {
      alarmDescription,
      metric,
      threshold: 1,
      evaluationPeriods: 1,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      // Nothing counted is nothing wrong.
      treatMissingData: TreatMissingData.NOT_BREACHING,
    }).addAlarmAction(new SnsAction(this.topic));
  }
}
