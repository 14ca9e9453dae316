import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import { HostId, MigrationId } from '../../contract/names.ts';
import { parse } from '../platform/parse.ts';

/** The parameters of the routes' paths. Each fails with InvalidInput. */
export const hostIdIn = ({ pathParameters }: APIGatewayProxyEventV2): string =>
  parse(HostId, pathParameters?.hostId, 'hostId');
export const migrationIdIn = ({ pathParameters }: APIGatewayProxyEventV2): string =>
  parse(MigrationId, pathParameters?.migrationId, 'migrationId');
export const evacuationIdIn = ({ pathParameters }: APIGatewayProxyEventV2): string =>
  parse(MigrationId, pathParameters?.evacuationId, 'evacuationId');
