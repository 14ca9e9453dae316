import { AsyncLocalStorage } from 'node:async_hooks';
import { Logger } from '@aws-lambda-powertools/logger';
import type { LogAttributes } from '@aws-lambda-powertools/logger/types';
import { parseRequestId } from '../../contract/names.ts';
import { parseExecutionName } from './execution-names.ts';

/** What a line of the log belongs to. */
export interface LogFields {
  migrationId?: string;
  requestId?: string;
  hostId?: string;
}

const fields = new AsyncLocalStorage<LogFields>();

export const powertoolsLogger = new Logger({ serviceName: 'handoff' });

/** Powertools' own keys belong to an invocation, but the relay processes several records at once: these fields belong to `withLogFields`. */
const at = (level: 'info' | 'warn' | 'error') => (message: string, attributes?: LogAttributes) =>
  powertoolsLogger[level](message, { ...fields.getStore(), ...attributes });

/** JSON lines with the fields of `withLogFields`; an `error` among the attributes is logged with its stack. */
export const logger = { info: at('info'), warn: at('warn'), error: at('error') };

/** Every line that `run` logs has these fields, beside those of its caller. */
export const withLogFields = <T>(added: LogFields, run: () => T): T =>
  fields.run({ ...fields.getStore(), ...added }, run);

/** What an event of a function is about, as far as the event alone says: a state's input, a request of the API, or an event of Step Functions. */
export function logFieldsOf(event: unknown): LogFields {
  if (typeof event !== 'object' || event === null) return {};
  const { detail, pathParameters } = event as Record<string, Record<string, unknown> | null | undefined>;
  const name = typeof detail?.name === 'string' ? parseExecutionName(detail.name).migrationId : undefined;
  return { ...(name !== undefined && { migrationId: name }), ...idsIn(pathParameters), ...idsIn(event) };
}

function idsIn(values: object | null | undefined): LogFields {
  const { migrationId, requestId, hostId } = (values ?? {}) as Record<string, unknown>;
  const migration = typeof requestId === 'string' ? parseRequestId(requestId)?.migrationId : undefined;
  return {
    ...(migration !== undefined && { migrationId: migration }),
    ...(typeof migrationId === 'string' && { migrationId }),
    ...(typeof requestId === 'string' && { requestId }),
    ...(typeof hostId === 'string' && { hostId }),
  };
}
