import { AwsError, type JsonObject, notImplemented, type Service } from '../core/service.ts';

/** So many lines of a log group are kept, the newest ones. */
export const LINES_KEPT = 10_000;
/** FilterLogEvents' own default and maximum. */
const LONGEST_PAGE = 10_000;

interface LogEvent {
  eventId: string;
  logStreamName: string;
  /** Milliseconds since the epoch. */
  timestamp: number;
  ingestionTime: number;
  message: string;
}

/** CloudWatch Logs: log groups that keep what the functions wrote, in memory. */
export interface Logs extends Service {
  put(logGroupName: string, logStreamName: string, message: string): void;
}

export function createLogs({ now, region, account }: { now: () => number; region: string; account: string }): Logs {
  const groups = new Map<string, LogEvent[]>();
  let written = 0;
  const arnOf = (name: string) => `arn:aws:logs:${region}:${account}:log-group:${name}`;

  function filterLogEvents(input: JsonObject): JsonObject {
    knownInput(input, ['logGroupName', 'filterPattern', 'startTime', 'endTime', 'limit', 'nextToken']);
    const events = groups.get(String(input.logGroupName));
    if (events === undefined)
      throw new AwsError('ResourceNotFoundException', 'The specified log group does not exist.');
    const matches = compileFilter(String(input.filterPattern ?? ''));
    const after = Number(input.nextToken ?? -1);
    const { startTime = 0, endTime = Number.MAX_SAFE_INTEGER } = input as { startTime?: number; endTime?: number };
    const limit = Math.min(Number(input.limit ?? LONGEST_PAGE), LONGEST_PAGE);
    const found = events.filter(
      ({ eventId, timestamp, message }) =>
        Number(eventId) > after && timestamp >= startTime && timestamp <= endTime && matches(message),
    );
    const page = found.slice(0, limit);
    return {
      events: page as unknown as JsonObject[],
      searchedLogStreams: [],
      ...(found.length > limit && { nextToken: page.at(-1)!.eventId }),
    };
  }

  function describeLogGroups(input: JsonObject): JsonObject {
    knownInput(input, ['logGroupNamePrefix']);
    const names = [...groups.keys()].filter((name) => name.startsWith(String(input.logGroupNamePrefix ?? ''))).sort();
    return { logGroups: names.map((logGroupName) => ({ logGroupName, logGroupArn: arnOf(logGroupName) })) };
  }

  const operations: Record<string, (input: JsonObject) => JsonObject> = {
    FilterLogEvents: filterLogEvents,
    DescribeLogGroups: describeLogGroups,
  };

  return {
    put(logGroupName, logStreamName, message) {
      const events = groups.get(logGroupName) ?? [];
      groups.set(logGroupName, events);
      const at = now();
      events.push({ eventId: String(written++), logStreamName, timestamp: at, ingestionTime: at, message });
      // Removed in blocks: to shift an array for each line would copy it each time.
      if (events.length >= 2 * LINES_KEPT) events.splice(0, events.length - LINES_KEPT);
    },
    requiredPermissions(operation, input) {
      if (!Object.hasOwn(operations, operation)) throw notImplemented(`logs:${operation}`);
      const resource = operation === 'FilterLogEvents' ? `${arnOf(String(input.logGroupName))}:*` : arnOf('*');
      return [{ action: `logs:${operation}`, resource }];
    },
    call: async (operation, input) => operations[operation]!(input),
  };
}

/** Filter patterns of one term, quoted or not, which match the lines that contain the term. */
function compileFilter(pattern: string): (message: string) => boolean {
  const [, quoted, bare] = /^(?:"([^"\\]*)"|([\w-]*))$/.exec(pattern.trim()) ?? [];
  const term = quoted ?? bare;
  if (term === undefined) throw notImplemented(`the filter pattern ${pattern}`);
  return (message) => message.includes(term);
}

function knownInput(input: JsonObject, known: readonly string[]): void {
  const unknown = Object.keys(input).find((name) => !known.includes(name));
  if (unknown !== undefined) throw notImplemented(`logs with the parameter ${unknown}`);
}
