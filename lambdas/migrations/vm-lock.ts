import { HandoffError } from '../../contract/errors.ts';
import { lockKey } from '../platform/control-keys.ts';
import { CONTROL, type LockItem } from '../platform/control-table.ts';
import { getItem } from '../platform/dynamo.ts';
import { parseExecutionName } from '../platform/execution-names.ts';

export const getLock = (vm: string): Promise<LockItem | undefined> => getItem(CONTROL, lockKey(vm));

/** The refusal for a VM whose lock has another holder: a migration, or the cleanup of one. */
export async function vmBusy(vm: string): Promise<HandoffError> {
  const lock = await getLock(vm);
  if (lock === undefined) return new HandoffError('VmBusy', `Another migration of ${vm} has just ended; try again.`);
  const { migrationId } = parseExecutionName(lock.migrationId);
  return new HandoffError('VmBusy', `${vm} is being migrated by ${migrationId}; wait for it, or cancel it.`, {
    detail: { migrationId },
  });
}
