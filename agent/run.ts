import { HandoffError } from '../contract/errors.ts';
import { parseRequestId } from '../contract/names.ts';
import type { StageResult } from '../contract/reports.ts';
import { type AgentTask, AgentTask as TaskSchema } from '../contract/tasks.ts';
import type { AgentDeps } from './deps.ts';
import { EXIT, ExitError } from './environment.ts';
import { failureOf } from './failure.ts';
import { type FailureReport, Reporter, type RequestIdentity } from './reporter.ts';
import { abort } from './stages/abort.ts';
import { cutover } from './stages/cutover.ts';
import { inspect } from './stages/inspect.ts';
import { observeGuest } from './stages/observe-guest.ts';
import { precopy } from './stages/precopy.ts';
import { preflightDestination } from './stages/preflight-destination.ts';
import { preflightSource } from './stages/preflight-source.ts';
import { storage } from './stages/storage.ts';
import { verify } from './stages/verify.ts';

/** How long a report is tried again while AWS is away: SSM kills the command after 120 s, part of which the stage has used. */
const REPORT_PATIENCE_MS = 60_000;

/** How a request ended on this host; every one of them is a success of the command. */
export type RunOutcome = 'reported' | 'mover-reports' | 'observer-reports' | 'claimed-before';

/**
 * Carries out one task of this host's mailbox, from its claim to its last report. A fault of the stage becomes a failed report. Throws
 * an ExitError only when nothing can be reported: there is no such task, or AWS is away.
 */
export async function runRequest(requestId: string, deps: AgentDeps): Promise<RunOutcome> {
  const identity = identityOf(requestId);
  let log = deps.log.with({ ...(deps.hostId !== undefined && { hostId: deps.hostId }), ...identity });
  const begunAt = deps.clock.now();
  // Claimed before it is parsed: a second delivery, late perhaps, must not report on a task that is being carried out.
  const claimed = await reachingAws(deps.mailbox.claim(requestId));
  if (claimed === undefined) {
    if ((await reachingAws(deps.mailbox.readTask(requestId))) !== undefined) {
      log.info('the task was claimed before');
      return 'claimed-before';
    }
    throw new ExitError(EXIT.noTask, `there is no task ${requestId} in this host's mailbox`);
  }

  let outcome: { result: StageResult } | { failure: FailureReport };
  try {
    const task = parseTask(claimed.task, identity);
    mustBeForNowAndHere(task, deps);
    log = log.with({ hostId: task.hostId });
    log.info('stage begins');
    const result = await runStage(deps, task);
    if (result === 'mover-reports' || result === 'observer-reports') {
      log.info(`the ${result === 'mover-reports' ? 'mover' : 'observer'} reports from here on`);
      return result;
    }
    outcome = { result };
    log.info('stage succeeded', { tookMs: deps.clock.now() - begunAt, result: forLog(result) });
  } catch (error) {
    const failure = failureOf(error);
    outcome = { failure };
    const { code, message, detail } = failure;
    log.error(`stage failed: ${message}`, { tookMs: deps.clock.now() - begunAt, code, detail });
  }
  await reachingAws(new Reporter(deps.mailbox, deps.clock, identity).end(outcome, REPORT_PATIENCE_MS));
  return 'reported';
}

/** Of the many domains that a host may have, their number. */
const forLog = (result: StageResult): object =>
  'domains' in result && result.domains ? { ...result, domains: result.domains.length } : result;

function runStage(deps: AgentDeps, task: AgentTask): Promise<StageResult | 'mover-reports' | 'observer-reports'> {
  switch (task.stage) {
    case 'preflight':
      return task.role === 'source' ? preflightSource(deps, task) : preflightDestination(deps, task);
    case 'storage':
      return storage(deps, task);
    case 'precopy':
      return precopy(deps, task);
    case 'cutover':
      return cutover(deps, task);
    case 'observe-guest':
      return observeGuest(deps, task);
    case 'verify':
      return verify(deps, task);
    case 'abort':
      return abort(deps, task);
    case 'inspect':
      return inspect(deps, task);
  }
}

/** Throws TaskInvalid, naming each fault. */
export function parseTask(raw: unknown, identity: RequestIdentity): AgentTask {
  const parsed = TaskSchema.safeParse(raw);
  if (!parsed.success) {
    const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'task'}: ${message}`);
    throw new HandoffError('TaskInvalid', `the task is malformed: ${faults.join('; ')}`);
  }
  const task = parsed.data;
  for (const field of ['requestId', 'migrationId', 'stage', 'role'] as const) {
    if (task[field] !== identity[field]) {
      throw new HandoffError('TaskInvalid', `the task under ${identity.requestId} has ${field} "${task[field]}"`);
    }
  }
  return task;
}

/** Throws TaskMisdirected or TaskExpired. */
function mustBeForNowAndHere(task: AgentTask, { clock, hostId }: Pick<AgentDeps, 'clock' | 'hostId'>): void {
  const meant = 'source' in task ? task[task.role].hostId : task.hostId;
  if (task.hostId !== meant || task.hostId !== (hostId ?? meant)) {
    throw new HandoffError(
      'TaskMisdirected',
      `the task is for host "${task.hostId}", but its ${task.role} is "${meant}" and this host is "${hostId ?? 'unnamed'}"`,
    );
  }
  if (clock.now() > Date.parse(task.expiresAt)) {
    throw new HandoffError(
      'TaskExpired',
      `the task was to be begun by ${task.expiresAt}; the control plane waits no longer`,
    );
  }
}

/** A request id is enough to report on a task that cannot be read. */
export function identityOf(requestId: string): RequestIdentity {
  const parts = parseRequestId(requestId);
  if (parts === undefined) {
    throw new ExitError(EXIT.usage, `"${requestId}" is not a request id: <migration>.<stage>.<role>.<attempt>`);
  }
  const { migrationId, stage, role } = parts;
  return { requestId, migrationId, stage, role };
}

async function reachingAws<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (cause) {
    const message = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    throw new ExitError(EXIT.unavailable, `the mailbox could not be reached: ${message}`, { cause });
  }
}
