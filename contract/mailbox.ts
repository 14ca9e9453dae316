/**
 * The Mailbox table: one partition per host, the only thing in AWS that a host can read and write.
 *
 * The partition key is the caller's own `aws:userid` (`<role id>:<managed node id>`), because that is what IAM's
 * `dynamodb:LeadingKeys` can compare it with: a host cannot name another host's partition.
 *
 * | sk                    | written by                  | read by        | what                                            |
 * |-----------------------|-----------------------------|----------------|-------------------------------------------------|
 * | `TASK#<request id>`   | dispatch; the agent claims  | agent          | the task: one stage on one host                 |
 * | `COMMIT#<migration>`  | admit, mover, recovery      | mover, control | the commit record: OPEN, COMMITTED or REVOKED   |
 * | `REPORT#<request id>` | agent or mover              | relay (stream) | progress, then the result or the failure        |
 */
export function mailboxOf(hostRoleId: string, nodeId: string): string {
  return `${hostRoleId}:${nodeId}`;
}

const PREFIXES = { task: 'TASK#', commit: 'COMMIT#', report: 'REPORT#' } as const;
/** What the sort keys of all reports begin with, for the stream's filter. */
export const REPORT_PREFIX = PREFIXES.report;
/** What the sort keys of all commit records begin with, for a query. */
export const COMMIT_PREFIX = PREFIXES.commit;

export type MailboxKey = { pk: string; sk: string };

export const taskKey = (mailbox: string, requestId: string): MailboxKey => ({
  pk: mailbox,
  sk: `${PREFIXES.task}${requestId}`,
});
export const commitRecordKey = (mailbox: string, migrationId: string): MailboxKey => ({
  pk: mailbox,
  sk: `${PREFIXES.commit}${migrationId}`,
});
export const reportKey = (mailbox: string, requestId: string): MailboxKey => ({
  pk: mailbox,
  sk: `${PREFIXES.report}${requestId}`,
});

/** `id` is a commit record's migration id, and a task's or a report's request id. Undefined for any other sort key. */
export function parseMailboxItem(sk: string): { kind: keyof typeof PREFIXES; id: string } | undefined {
  for (const kind of ['task', 'commit', 'report'] as const)
    if (sk.startsWith(PREFIXES[kind])) return { kind, id: sk.slice(PREFIXES[kind].length) };
  return undefined;
}

/** The state of the commit record, the item in the source host's mailbox whose one conditional write decides a handover. */
export type CommitRecordState = 'OPEN' | 'COMMITTED' | 'REVOKED';
