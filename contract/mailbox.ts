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

export const taskKey = (mailbox: string, requestId: string) => ({ pk: mailbox, sk: `TASK#${requestId}` });
export const commitRecordKey = (mailbox: string, migrationId: string) => ({ pk: mailbox, sk: `COMMIT#${migrationId}` });
export const reportKey = (mailbox: string, requestId: string) => ({ pk: mailbox, sk: `REPORT#${requestId}` });

/** The state of the commit record, the item in the source host's mailbox whose one conditional write decides a handover. */
export type CommitRecordState = 'OPEN' | 'COMMITTED' | 'REVOKED';
