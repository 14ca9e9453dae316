import { parseMailboxItem } from '../../../contract/mailbox.ts';
import type { JsonObject } from '../../../embedded-aws/core/service.ts';
import type { AwsCall } from '../aws-faults.ts';
import type { Overrides } from './mutation.ts';

/** Makes a write's condition always hold. It keeps the names that the condition uses: DynamoDB refuses unused ones. */
export function holdAlways(write: JsonObject): void {
  write.ConditionExpression = `attribute_exists(pk) OR attribute_not_exists(pk) OR (${write.ConditionExpression})`;
}

/** Takes a VM's lock also from another holder. */
export function takeLockAlways({ input }: AwsCall): void {
  for (const item of (input.TransactItems ?? []) as JsonObject[]) {
    const put = item.Put as JsonObject | undefined;
    if ((put?.Item as { sk?: { S?: string } } | undefined)?.sk?.S === 'LOCK') holdAlways(put!);
  }
}

export function forgetDisks(write: JsonObject): void {
  write.UpdateExpression = String(write.UpdateExpression).replace(', migratedDisks = :disks', '');
  delete (write.ExpressionAttributeValues as JsonObject | undefined)?.[':disks'];
}

export const queriesCleanups = ({ operation, input }: AwsCall): boolean =>
  operation === 'Query' && JSON.stringify(input.ExpressionAttributeValues).includes('"CLEANUPS"');

export const withoutItems = (answer: JsonObject): JsonObject => ({ ...answer, Items: [], Count: 0 });

export const deletesNoCleanup = ({ Delete: write }: JsonObject): boolean =>
  ((write as JsonObject | undefined)?.Key as { pk?: { S?: string } } | undefined)?.pk?.S !== 'CLEANUPS';

export const isCommitRecord = ({ Key }: JsonObject): boolean =>
  parseMailboxItem(String((Key as { sk?: { S?: string } } | undefined)?.sk?.S))?.kind === 'commit';

export const updatesIn = ({ TransactItems: items = [] }: JsonObject): JsonObject[] =>
  (items as JsonObject[]).flatMap(({ Update: update }) => (update === undefined ? [] : [update as JsonObject]));

/** Writes that a commit record was revoked where only `showRevoked` reads it. */
export function pretendRevoked(write: JsonObject): void {
  if (write.UpdateExpression === undefined) return;
  const update = String(write.UpdateExpression);
  write.UpdateExpression = update.replace('#state = :revoked', '#state = #state, pretended = :revoked');
}

/** The answer with what `pretendRevoked` wrote. It is a copy: answers share their content with the store. */
export function showRevoked(answer: JsonObject): JsonObject {
  const copy = JSON.parse(JSON.stringify(answer)) as { Item?: { state: JsonObject; pretended?: JsonObject } };
  if (copy.Item?.pretended !== undefined) copy.Item.state = copy.Item.pretended;
  return copy as JsonObject;
}

export function neverExpires(answer: JsonObject): JsonObject {
  const text = JSON.stringify(answer);
  return JSON.parse(
    text.replace(/"expiresAt":\{"S":"[^"]*"\}/, '"expiresAt":{"S":"2099-01-01T00:00:00.000Z"}'),
  ) as JsonObject;
}

export function unreachableCountsAsAbsent(payload: string): string {
  const input = JSON.parse(payload) as JsonObject;
  for (const role of ['source', 'destination']) {
    if ((input[role] as JsonObject | undefined)?.unreachable !== true) continue;
    const evidence = { state: 'absent', detail: 'no such domain', jobActive: false, mover: 'none' };
    input[role] = { stage: 'inspect', evidence };
  }
  return JSON.stringify(input);
}

/** Moves a report in the wrong mailbox to the right one on its way to the function, as if its sender were not checked. */
export function acceptAnySender(): NonNullable<Overrides['call']> {
  const asked = new Map<string, string>();
  return (call, next) => {
    if (call.operation === 'SendCommand') {
      const { Parameters: parameters, InstanceIds: nodeIds } = call.input as {
        Parameters?: JsonObject;
        InstanceIds?: string[];
      };
      asked.set(String((parameters?.requestId as string[] | undefined)?.[0]), String(nodeIds?.[0]));
    }
    if (call.service !== 'streams') return undefined;
    call.input.Records = (call.input.Records as JsonObject[]).map((record) => {
      const text = JSON.stringify(record);
      const nodeId = asked.get(parseMailboxItem(/"sk":\{"S":"([^"]+)"/.exec(text)?.[1] ?? '')?.id ?? '');
      return nodeId === undefined ? record : JSON.parse(text.replace(/("pk":\{"S":"\w+:)mi-\w+/g, `$1${nodeId}`));
    }) as JsonObject[];
    return next();
  };
}
