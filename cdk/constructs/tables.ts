import { RemovalPolicy } from 'aws-cdk-lib';
import {
  AttributeType,
  Billing,
  ProjectionType,
  StreamViewType,
  TableEncryptionV2,
  TableV2,
} from 'aws-cdk-lib/aws-dynamodb';
import { Construct } from 'constructs';

/** The two tables: Control for the control plane alone, Mailbox with a partition for each host. */
export class Tables extends Construct {
  readonly control: TableV2;
  readonly mailbox: TableV2;

  constructor(scope: Construct, id: string) {
    super(scope, id);
    const key = {
      partitionKey: { name: 'pk', type: AttributeType.STRING },
      sortKey: { name: 'sk', type: AttributeType.STRING },
    };
    const common = {
      ...key,
      billing: Billing.onDemand(),
      encryption: TableEncryptionV2.awsManagedKey(),
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      timeToLiveAttribute: 'expiresAt',
      // Who owns which VM is in here; losing it with a stack would be worse than keeping a table nobody uses.
      removalPolicy: RemovalPolicy.RETAIN,
      deletionProtection: true,
    };
    const index = (indexName: string, partition: string) => ({
      indexName,
      partitionKey: { name: partition, type: AttributeType.STRING },
      sortKey: { name: 'requestedAt', type: AttributeType.STRING },
      // Keys only: progress is written to the records every few seconds and must not be written to the indexes too.
      projectionType: ProjectionType.KEYS_ONLY,
    });
    this.control = new TableV2(this, 'Control', {
      ...common,
      globalSecondaryIndexes: [
        index('byVm', 'vm'),
        index('byHost', 'host'),
        index('byStatus', 'status'),
        index('recent', 'entity'),
      ],
    });
    this.mailbox = new TableV2(this, 'Mailbox', { ...common, dynamoStream: StreamViewType.NEW_IMAGE });
  }
}
