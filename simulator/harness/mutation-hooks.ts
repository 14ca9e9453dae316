import type { Domain, HypervisorConnection } from '../../agent/hypervisor.ts';
import { BRAKE_SPEED_MIBPS } from '../../agent/mover/brake.ts';
import type { JsonObject } from '../../embedded-aws/core/service.ts';
import type { Alterations } from '../hosts/node.ts';
import type { Call } from './aws-faults.ts';

/** What a mutation puts in the place of a safety measure. */
export interface Hooks {
  agent?: Partial<Alterations>;
  /** In place of a call of AWS; undefined leaves the call as it is. */
  call?(call: Call, next: () => Promise<JsonObject>): Promise<JsonObject> | undefined;
}

/** Makes a write's condition hold always. Everything it names stays in use, without which the call would be refused. */
export function holdAlways(write: JsonObject): void {
  write.ConditionExpression = `attribute_exists(pk) OR attribute_not_exists(pk) OR (${write.ConditionExpression})`;
}

/** Whoever holds a VM's lock. */
export function lockAlways({ input }: Call): void {
  for (const item of (input.TransactItems ?? []) as JsonObject[]) {
    const put = item.Put as JsonObject | undefined;
    if ((put?.Item as { sk?: { S?: string } } | undefined)?.sk?.S === 'LOCK') holdAlways(put!);
  }
}

export function forgetDisks(write: JsonObject): void {
  write.UpdateExpression = String(write.UpdateExpression).replace(', migratedDisks = :disks', '');
  delete (write.ExpressionAttributeValues as JsonObject | undefined)?.[':disks'];
}

export const asksForPendingCleanups = ({ operation, input }: Call): boolean =>
  operation === 'Query' && JSON.stringify(input.ExpressionAttributeValues).includes('"CLEANUPS"');

export const nothingFound = (answer: JsonObject): JsonObject => ({ ...answer, Items: [], Count: 0 });

export const notOfPendingCleanups = ({ Delete: write }: JsonObject): boolean =>
  ((write as JsonObject | undefined)?.Key as { pk?: { S?: string } } | undefined)?.pk?.S !== 'CLEANUPS';

export const isCommitRecord = ({ Key }: JsonObject): boolean =>
  String((Key as { sk?: { S?: string } } | undefined)?.sk?.S).startsWith('COMMIT#');

export const updatesIn = ({ TransactItems: items = [] }: JsonObject): JsonObject[] =>
  (items as JsonObject[]).flatMap(({ Update: update }) => (update === undefined ? [] : [update as JsonObject]));

export function revokeInNameOnly(write: JsonObject): void {
  if (write.UpdateExpression === undefined) return;
  const update = String(write.UpdateExpression);
  write.UpdateExpression = update.replace('#state = :revoked', '#state = #state, believed = :revoked');
}

/** Answers share their content with the store: they are copied before anything is changed. */
export function asItIsBelieved(answer: JsonObject): JsonObject {
  const copy = JSON.parse(JSON.stringify(answer)) as { Item?: { state: JsonObject; believed?: JsonObject } };
  if (copy.Item?.believed !== undefined) copy.Item.state = copy.Item.believed;
  return copy as JsonObject;
}

export function neverExpires(answer: JsonObject): JsonObject {
  const text = JSON.stringify(answer);
  return JSON.parse(
    text.replace(/"expiresAt":\{"S":"[^"]*"\}/, '"expiresAt":{"S":"2099-01-01T00:00:00.000Z"}'),
  ) as JsonObject;
}

export function unreachableAsAbsent(payload: string): string {
  const input = JSON.parse(payload) as JsonObject;
  for (const role of ['source', 'destination']) {
    if ((input[role] as JsonObject | undefined)?.unreachable !== true) continue;
    const evidence = { state: 'absent', detail: 'no such domain', jobActive: false, mover: 'none' };
    input[role] = { stage: 'inspect', evidence };
  }
  return JSON.stringify(input);
}

export function delegate<M extends { start: unknown; cutover: unknown; fence: unknown }>(movers: M): M {
  const bound = (name: keyof M) => (movers[name] as (...to: unknown[]) => unknown).bind(movers);
  return { start: bound('start'), cutover: bound('cutover'), fence: bound('fence') } as unknown as M;
}

/** A report in the wrong mailbox is moved to the right one on its way, as if nobody looked where it lay. */
export function sentByTheHostAsked(): NonNullable<Hooks['call']> {
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
      const nodeId = asked.get(/"sk":\{"S":"REPORT#([^"]+)"/.exec(text)?.[1] ?? '');
      return nodeId === undefined ? record : JSON.parse(text.replace(/("pk":\{"S":"\w+:)mi-\w+/g, `$1${nodeId}`));
    }) as JsonObject[];
    return next();
  };
}

/** As if the mover, having lost Finish's answer, did not connect and look, but took the copy for gone. */
export function goneAfterLostFinish(): (connection: HypervisorConnection) => HypervisorConnection {
  const lost = new Set<string>();
  return (connection) =>
    new Proxy(connection, {
      get(target, name) {
        if (name === 'finish') {
          return async (options: Parameters<HypervisorConnection['finish']>[0]) => {
            try {
              return await target.finish(options);
            } catch (error) {
              if (!options.cancelled) lost.add(options.name);
              throw error;
            }
          };
        }
        if (name === 'find') return async (vm: string) => (lost.delete(vm) ? undefined : target.find(vm));
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
}

export function altered<T extends object>(of: T, change: Partial<T>): T {
  return new Proxy(of, {
    get(target, name) {
      const value = (Reflect.get(change, name) ?? Reflect.get(target, name, target)) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

export const withDomains =
  (change: (domain: Domain) => Partial<Domain>) =>
  (connection: HypervisorConnection): HypervisorConnection =>
    altered(connection, {
      find: async (vm) => {
        const domain = await connection.find(vm);
        return domain && altered(domain, change(domain));
      },
    });

/** QEMU is told as soon as the copy is let go, and so before the mover commits. */
export function begunBeforeItsCommit(domain: Domain): Partial<Domain> {
  let possible = false;
  let braked = false;
  return {
    begin: (options) => {
      possible = options.postCopy === true;
      return domain.begin(options);
    },
    setMaxSpeedMiBps: async (mibps) => {
      await domain.setMaxSpeedMiBps(mibps);
      if (mibps === BRAKE_SPEED_MIBPS) braked = true;
      else if (possible && braked) await domain.startPostCopy();
    },
  };
}

export const wholeWhereItRuns = (domain: Domain): Partial<Domain> => ({
  state: async () => {
    const seen = await domain.state();
    const half = seen.state.startsWith('postcopy-') && seen.detail.startsWith('running');
    return half ? { ...seen, state: 'running' } : seen;
  },
});
