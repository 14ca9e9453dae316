/**
 * The Mailbox table: one partition per host, the only thing in AWS that a host can read and write.
 *
 * The partition key is the caller's own `aws:userid` (`<role id>:<managed node id>`), because that is what IAM's
 * `dynamodb:LeadingKeys` can compare it with: a host cannot name another host's partition.
 *
 * | sk                    | written by                  | read by        | what                                            |
 * |-----------------------|-----------------------------|----------------|-------------------------------------------------|
 * | `TASK#<request id>`  | dispatch; the agent claims  | agent          | what to do: one stage on one host               |
 * | `COMMIT#<migration>`  | admit, mover, recovery      | mover, control | who owns the VM: OPEN, COMMITTED or REVOKED     |
 * | `REPORT#<request id>` | agent or mover              | relay (stream) | how it goes and how it ended                    |
 */
export function mailboxOf(hostRoleId: string, nodeId: string): string {
  return `${hostRoleId}:${nodeId}`;
}

export const taskKey = (mailbox: string, requestId: string) => ({ pk: mailbox, sk: `TASK#${requestId}` });
export const commitRecordKey = (mailbox: string, migrationId: string) => ({ pk: mailbox, sk: `COMMIT#${migrationId}` });
export const reportKey = (mailbox: string, requestId: string) => ({ pk: mailbox, sk: `REPORT#${requestId}` });

/** The item whose one conditional write decides a handover; it lies in the source host's mailbox. */
export type CommitRecordState = 'OPEN' | 'COMMITTED' | 'REVOKED';
