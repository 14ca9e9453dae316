import { expect } from 'vitest';
import { runRequest } from '../../../../agent/run.ts';
import type { Check } from '../../../../contract/facts.ts';
import type { StageName } from '../../../../contract/names.ts';
import type { Report, ResultOf } from '../../../../contract/reports.ts';
import type { World } from '../world.ts';

type Extra = Record<string, unknown>;

/** Gives the host the task, runs it to its end in virtual time, and returns its report. */
export async function report(world: World, stage: StageName, extra: Extra = {}, attempt = 1): Promise<Report> {
  const task = world.task(stage, extra, attempt);
  const run = runRequest(world.give(task), world.deps(task.role));
  await world.clock.runUntilIdle();
  await run;
  return world.reportOf(stage, task.role, attempt)!;
}

/** As `report`, of a stage that succeeds: its result. */
export async function result<S extends StageName>(
  world: World,
  stage: S,
  extra: Extra = {},
  attempt = 1,
): Promise<ResultOf<S>> {
  const said = await report(world, stage, extra, attempt);
  expect(said, JSON.stringify(said)).toMatchObject({ kind: 'succeeded' });
  return (said as unknown as { result: ResultOf<S> }).result;
}

export const failedOf = (checks: readonly Check[]) => checks.filter(({ passed }) => !passed).map(({ name }) => name);
export const toDestination = { role: 'destination' };
