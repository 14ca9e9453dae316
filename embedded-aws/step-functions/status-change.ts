import type { JsonObject } from '../core/service.ts';
import type { Execution } from './execution.ts';

/** The event Step Functions sends to the default event bus whenever an execution's status changes. Dates in it are ms. */
export function statusChange(
  execution: Execution,
  { id, account, region, now }: { id: string; account: string; region: string; now: number },
): JsonObject {
  const { arn, name, machine, input, status, startedAt, stoppedAt, ending } = execution;
  return {
    version: '0',
    id,
    'detail-type': 'Step Functions Execution Status Change',
    source: 'aws.states',
    account,
    time: `${new Date(now).toISOString().slice(0, 19)}Z`,
    region,
    resources: [arn],
    detail: {
      executionArn: arn,
      stateMachineArn: machine.arn,
      name,
      status,
      startDate: startedAt,
      stopDate: stoppedAt ?? null,
      input: input.text,
      output: ending?.output?.text ?? null,
      inputDetails: { included: true },
      outputDetails: ending?.output ? { included: true } : null,
      error: ending?.error ?? null,
      cause: ending?.cause ?? null,
      stateMachineVersionArn: null,
      stateMachineAliasArn: null,
      ...notRedrivable(status),
      redriveDate: null,
    },
  };
}

/** Redrive is not implemented here, and says so. */
export function notRedrivable(status: string): JsonObject {
  const reason =
    status === 'RUNNING' || status === 'SUCCEEDED'
      ? `Execution is ${status} and cannot be redriven`
      : 'The embedded AWS does not redrive executions';
  return { redriveCount: 0, redriveStatus: 'NOT_REDRIVABLE', redriveStatusReason: reason };
}
