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

/** What an operator should act on, at once or in the morning. The topic passes the alarms on to its subscribers. */
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
      'A VM is locked until an operator has stated where it is: handoff list --status NEEDS_OPERATOR',
      counted('MigrationEnded', { status: 'NEEDS_OPERATOR' }),
    );
    this.alarm(
      'ReportsRejected',
      'A host wrote a malformed report, or one for a request of another host; the logs of handoff-relay name its mailbox',
      counted('ReportRejected'),
    );
    this.alarm(
      'CommandsFailed',
      'SSM could not run the agent on a host; the failure of the migration names the host and the reason',
      counted('CommandFailed'),
    );
    this.alarm(
      'TasksRefused',
      'An agent refused a task: of another version, for another host, too late or malformed; the timeline shows which',
      counted('TaskRefused'),
    );
    this.alarm(
      'PendingCleanups',
      'A migration was settled while a host was silent, or what it left there needs an operator: handoff audit',
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
      // Without a count there is no fault.
      treatMissingData: TreatMissingData.NOT_BREACHING,
    }).addAlarmAction(new SnsAction(this.topic));
  }
}
