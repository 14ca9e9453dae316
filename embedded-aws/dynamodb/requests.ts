import type { ConditionExpression, ProjectionExpression, Values } from './expressions.ts';
import type { UpdateExpression } from './updates.ts';
import type { AttributeValue, Item } from './values.ts';

/** Requests once they are validated: members beginning with `_` are parsed expressions. */
export interface WriteRequest {
  TableName: string;
  Item?: Item;
  Key?: Item;
  ReturnValues?: 'NONE' | 'ALL_OLD' | 'UPDATED_OLD' | 'ALL_NEW' | 'UPDATED_NEW';
  ReturnValuesOnConditionCheckFailure?: 'NONE' | 'ALL_OLD';
  ExpressionAttributeValues?: Values;
  _condition?: ConditionExpression;
  _updates?: UpdateExpression;
}

export interface GetRequest {
  TableName: string;
  Key: Item;
  _projection?: ProjectionExpression;
}

export interface PageRequest {
  TableName: string;
  IndexName?: string;
  Select?: 'ALL_ATTRIBUTES' | 'ALL_PROJECTED_ATTRIBUTES' | 'SPECIFIC_ATTRIBUTES' | 'COUNT';
  ConsistentRead?: boolean;
  Limit?: number;
  ExclusiveStartKey?: Item;
  ExpressionAttributeValues?: Values;
  _filter?: ConditionExpression;
  _projection?: ProjectionExpression;
}

export interface KeyCondition {
  ComparisonOperator: string;
  AttributeValueList: AttributeValue[];
}

export interface QueryRequest extends PageRequest {
  ScanIndexForward?: boolean;
  /** By attribute, made from the KeyConditionExpression. */
  KeyConditions: Record<string, KeyCondition>;
}

export interface BatchGetRequest {
  RequestItems: Record<string, { Keys: Item[]; _projection?: ProjectionExpression }>;
}

export interface BatchWriteRequest {
  RequestItems: Record<string, { PutRequest?: { Item: Item }; DeleteRequest?: { Key: Item } }[]>;
}

/** The four things a transaction can do to an item, and by which a single write goes too. */
export type WriteKind = 'Put' | 'Update' | 'Delete' | 'ConditionCheck';

export interface TransactWriteRequest {
  ClientRequestToken?: string;
  TransactItems: Partial<Record<WriteKind, WriteRequest>>[];
}

export interface TransactGetRequest {
  TransactItems: { Get: GetRequest }[];
}

export interface TableRequest {
  TableName: string;
}

export interface ListTablesRequest {
  Limit?: number;
  ExclusiveStartTableName?: string;
}

export interface UpdateTimeToLiveRequest extends TableRequest {
  TimeToLiveSpecification: { AttributeName: string; Enabled: boolean };
}
