import { type Access, Unreachable } from './api-client.ts';

export interface FunctionLogLine {
  group: string;
  /** Milliseconds since the epoch. */
  timestamp: number;
  message: string;
}

/**
 * The lines with `term` of the log groups whose names begin so, through CloudWatch Logs of an embedded AWS. It verifies no signature, so
 * that the credentials' name is enough. Fails with Unreachable.
 */
export async function functionLogs(access: Access, prefix: string, term: string): Promise<FunctionLogLine[]> {
  const { logGroups } = await call<{ logGroups: { logGroupName: string }[] }>(access, 'DescribeLogGroups', {
    logGroupNamePrefix: prefix,
  });
  const lines: FunctionLogLine[] = [];
  for (const { logGroupName } of logGroups) {
    for (let nextToken: string | undefined, more = true; more; more = nextToken !== undefined) {
      const page = await call<{ events: { timestamp: number; message: string }[]; nextToken?: string }>(
        access,
        'FilterLogEvents',
        { logGroupName, filterPattern: `"${term}"`, ...(nextToken !== undefined && { nextToken }) },
      );
      for (const { timestamp, message } of page.events) lines.push({ group: logGroupName, timestamp, message });
      nextToken = page.nextToken;
    }
  }
  return lines;
}

async function call<T>({ embedded, credentials }: Access, operation: string, input: object): Promise<T> {
  const response = await fetch(embedded!.endpoint, {
    method: 'POST',
    headers: {
      authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/`,
      'content-type': 'application/x-amz-json-1.1',
      'x-amz-target': `Logs_20140328.${operation}`,
    },
    body: JSON.stringify(input),
  });
  const text = await response.text();
  if (!response.ok) throw new Unreachable(`${embedded!.endpoint} answered ${response.status}: ${text.slice(0, 300)}`);
  return JSON.parse(text) as T;
}
