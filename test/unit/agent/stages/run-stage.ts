import { expect } from 'vitest';
import { runRequest } from '../../../../agent/run.ts';
import type { Check } from '../../../../contract/facts.ts';
import type { StageName } from '../../../../contract/names.ts';
import type { Report, ResultOf } from '../../../../contract/reports.ts';
import type { AgentTestEnvironment } from '../agent-test-environment.ts';

type Extra = Record<string, unknown>;

/** Gives the host the task, runs it to its end in virtual time, and returns its report. */
export async function report(
  environment: AgentTestEnvironment,
  stage: StageName,
  extra: Extra = {},
  attempt = 1,
): Promise<Report> {
  const task = environment.task(stage, extra, attempt);
  const run = runRequest(environment.give(task), environment.deps(task.role));
  await environment.clock.runUntilIdle();
  await run;
  return environment.reportOf(stage, task.role, attempt)!;
}

/** As `report`, of a stage that succeeds: its result. */
export async function result<S extends StageName>(
  environment: AgentTestEnvironment,
  stage: S,
  extra: Extra = {},
  attempt = 1,
): Promise<ResultOf<S>> {
  const said = await report(environment, stage, extra, attempt);
  expect(said, JSON.stringify(said)).toMatchObject({ kind: 'succeeded' });
  return (said as unknown as { result: ResultOf<S> }).result;
}

export const failedOf = (checks: readonly Check[]) => checks.filter(({ passed }) => !passed).map(({ name }) => name);
export const toDestination = { role: 'destination' };
