import { HandoffError } from '../contract/errors.ts';
import { HypervisorError } from './hypervisor.ts';
import type { FailureReport } from './reporter.ts';

/** An error as it is reported: its own code; HypervisorUnreachable when libvirt did not answer; else AgentFailed, with the line of code. */
export function failureOf(error: unknown): FailureReport {
  if (error instanceof HandoffError) {
    return { code: error.code, message: error.message, ...(error.detail && { detail: error.detail }) };
  }
  if (error instanceof HypervisorError && !error.answered)
    return { code: 'HypervisorUnreachable', message: error.message };
  const where = error instanceof Error ? error.stack?.split('\n')[1]?.trim() : undefined;
  return {
    code: 'AgentFailed',
    message: error instanceof Error ? `${error.name}: ${error.message}` : String(error),
    ...(where !== undefined && { detail: { where } }),
  };
}
