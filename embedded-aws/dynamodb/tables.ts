import type { Clock } from '../../common/clock.ts';
import { AwsError, type JsonObject } from '../core/service.ts';
import { validationError } from './dynalite.ts';
import type { ListTablesRequest, TableRequest, UpdateTimeToLiveRequest } from './requests.ts';
import { Table, type TableDefinition } from './table.ts';

export interface Home {
  readonly clock: Clock;
  readonly region: string;
  readonly account: string;
}

/** The tables of one account in one region. They are ACTIVE as soon as they are created and gone as soon as deleted. */
export class Tables {
  readonly #home: Home;
  readonly #tables = new Map<string, Table>();

  constructor(home: Home) {
    this.#home = home;
  }

  /** Fails with ResourceNotFoundException, in the words of the operations on items. */
  get(name: string): Table {
    const table = this.#tables.get(name);
    if (!table) throw new AwsError('ResourceNotFoundException', 'Requested resource not found');
    return table;
  }

  find(name: string): Table | undefined {
    return this.#tables.get(name);
  }

  arnOf(name: string): string {
    return this.#tables.get(name)?.arn ?? `arn:aws:dynamodb:${this.#home.region}:${this.#home.account}:table/${name}`;
  }

  create(definition: TableDefinition): JsonObject {
    const name = definition.TableName;
    if (this.#tables.has(name)) throw new AwsError('ResourceInUseException', `Table already exists: ${name}`);
    const table = new Table(definition, this.arnOf(name), this.#home.clock.now());
    this.#tables.set(name, table);
    return { TableDescription: describe(table) };
  }

  describe({ TableName }: TableRequest): JsonObject {
    return { Table: describe(this.#named(TableName)) };
  }

  delete({ TableName }: TableRequest): JsonObject {
    const table = this.#named(TableName);
    if (table.definition.DeletionProtectionEnabled) {
      throw validationError(
        'Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.',
      );
    }
    this.#tables.delete(table.definition.TableName);
    return { TableDescription: { ...describe(table), TableStatus: 'DELETING' } };
  }

  list({ Limit = 100, ExclusiveStartTableName: start }: ListTablesRequest): JsonObject {
    const names = [...this.#tables.keys()].sort().filter((name) => start === undefined || name > start);
    const listed = names.slice(0, Limit);
    return { TableNames: listed, ...(names.length > Limit && { LastEvaluatedTableName: listed.at(-1)! }) };
  }

  /** The setting is kept and described, but nothing expires here: AWS deletes up to days late, so no program may rely on it. */
  updateTimeToLive({ TableName, TimeToLiveSpecification }: UpdateTimeToLiveRequest): JsonObject {
    this.#named(TableName).timeToLive = TimeToLiveSpecification;
    return { TimeToLiveSpecification };
  }

  describeTimeToLive({ TableName }: TableRequest): JsonObject {
    const { timeToLive } = this.#named(TableName);
    return {
      TimeToLiveDescription: timeToLive?.Enabled
        ? { TimeToLiveStatus: 'ENABLED', AttributeName: timeToLive.AttributeName }
        : { TimeToLiveStatus: 'DISABLED' },
    };
  }

  /** As `get`, in the words of the operations on tables. */
  #named(name: string): Table {
    const table = this.#tables.get(name);
    if (table) return table;
    throw new AwsError('ResourceNotFoundException', `Requested resource not found: Table: ${name} not found`);
  }
}

function describe(table: Table): JsonObject {
  const { definition, arn, streamArn, streamLabel } = table;
  const { TableName, KeySchema, AttributeDefinitions, GlobalSecondaryIndexes, StreamSpecification } = definition;
  return {
    TableName,
    TableArn: arn,
    TableStatus: 'ACTIVE',
    CreationDateTime: table.createdAt / 1000,
    KeySchema,
    AttributeDefinitions,
    ItemCount: table.view.items.size,
    DeletionProtectionEnabled: definition.DeletionProtectionEnabled ?? false,
    ...(definition.BillingMode && { BillingModeSummary: { BillingMode: definition.BillingMode } }),
    ...(GlobalSecondaryIndexes && {
      GlobalSecondaryIndexes: GlobalSecondaryIndexes.map((index) => ({
        IndexName: index.IndexName,
        IndexArn: `${arn}/index/${index.IndexName}`,
        IndexStatus: 'ACTIVE',
        KeySchema: index.KeySchema,
        Projection: index.Projection,
        ItemCount: table.viewOf(index.IndexName).items.size,
      })),
    }),
    ...(streamArn && {
      StreamSpecification: StreamSpecification!,
      LatestStreamArn: streamArn,
      LatestStreamLabel: streamLabel!,
    }),
  };
}
