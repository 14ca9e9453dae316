import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../lab/command.ts';
import { plainVirsh } from '../lab/guest/guests.ts';
import type { Lab } from '../lab/hosts/lab.ts';
import { exec } from '../lab/hosts/node.ts';
import type { Move } from './bench-testbed.ts';
import type { VirshWay } from './virsh-strategies.ts';

/** Migrates with virsh as the way says, and aborts the job after `limitSeconds` at the latest. Tells whether the guest moved. */
export async function virshMove(
  lab: Lab,
  move: Move,
  way: VirshWay,
  limitSeconds: number,
): Promise<{ moved: boolean; why?: string }> {
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  const patience = Math.min(limitSeconds, way.abortAfterSeconds ?? limitSeconds);
  const steps = [...(way.downtimeSteps ?? [])];
  const onSource = async (...args: string[]) => (await exec(lab, move.from, ['virsh', ...args])).exitCode === 0;
  let ended = false;
  const command = plainVirsh(lab, move, { args: way.args })
    .then(() => ({ moved: true }))
    .catch((error: unknown) => {
      if (!(error instanceof CommandError)) throw error;
      return { moved: false, why: error.stderr.trim() };
    })
    .finally(() => {
      ended = true;
    });
  while (!ended) {
    await Promise.race([command, sleep(way.pollMs)]);
    // Fails before the job has begun, and is tried again.
    if (steps[0] !== undefined && elapsed() > steps[0].afterSeconds) {
      if (await onSource('migrate-setmaxdowntime', move.guest, `${steps[0].ms}`)) steps.shift();
    }
    // Fails in post-copy, which can only go on.
    if (elapsed() > patience) await onSource('domjobabort', move.guest);
  }
  return await command;
}
