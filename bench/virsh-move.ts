import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../lab/command.ts';
import { plainVirsh } from '../lab/guest/guests.ts';
import type { Lab } from '../lab/hosts/lab.ts';
import { exec } from '../lab/hosts/node.ts';
import type { Move } from './bench-testbed.ts';
import type { VirshStrategy } from './virsh-strategies.ts';

/** Migrates with virsh by the strategy, and aborts the job after `limitSeconds` at the latest. Returns whether the guest moved. */
export async function virshMove(
  lab: Lab,
  move: Move,
  strategy: VirshStrategy,
  limitSeconds: number,
): Promise<{ moved: boolean; why?: string }> {
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  const patience = Math.min(limitSeconds, strategy.abortAfterSeconds ?? limitSeconds);
  const steps = [...(strategy.downtimeSteps ?? [])];
  const onSource = async (...args: string[]) => (await exec(lab, move.from, ['virsh', ...args])).exitCode === 0;
  let ended = false;
  const command = plainVirsh(lab, move, { args: strategy.args })
    .then(() => ({ moved: true }))
    .catch((error: unknown) => {
      if (!(error instanceof CommandError)) throw error;
      return { moved: false, why: error.stderr.trim() };
    })
    .finally(() => {
      ended = true;
    });
  while (!ended) {
    await Promise.race([command, sleep(strategy.pollMs)]);
    // Fails before the job has begun, and is tried again.
    if (steps[0] !== undefined && elapsed() > steps[0].afterSeconds) {
      if (await onSource('migrate-setmaxdowntime', move.guest, `${steps[0].ms}`)) steps.shift();
    }
    // Fails in post-copy, which cannot be aborted.
    if (elapsed() > patience) await onSource('domjobabort', move.guest);
  }
  return await command;
}
