import { HandoffError } from '../contract/errors.ts';
import { Role, StageName } from '../contract/names.ts';
import type { StageResult } from '../contract/reports.ts';
import { type Order, Order as OrderSchema } from '../contract/tasks.ts';
import type { AgentDeps } from './deps.ts';
import { EXIT, ExitError } from './environment.ts';
import { failureOf } from './failure.ts';
import { type FailureReport, Reporter, type RequestIdentity } from './reporter.ts';
import { abort } from './stages/abort.ts';
import { cutover } from './stages/cutover.ts';
import { inspect } from './stages/inspect.ts';
import { watch } from './stages/observe-guest.ts';
import { precopy } from './stages/precopy.ts';
import { preflightDestination } from './stages/preflight-destination.ts';
import { preflightSource } from './stages/preflight-source.ts';
import { storage } from './stages/storage.ts';
import { verify } from './stages/verify.ts';

/** How long a result is held on to while AWS is away: SSM kills the command after 120 s, and the stage has had its part. */
const REPORT_PATIENCE_MS = 60_000;

/** How a request ended on this host; every one of them is a success of the command. */
export type RunOutcome = 'reported' | 'mover-reports' | 'claimed-before';

/**
 * Carries out one order of this host's mailbox, from reading it to its last report. Whatever goes wrong in a stage becomes a
 * failed report. Throws an ExitError only when nobody could be told: no such order, or no AWS.
 */
export async function runRequest(requestId: string, deps: AgentDeps): Promise<RunOutcome> {
  const identity = identityOf(requestId);
  // Claimed before it is judged: a second delivery, late perhaps, must not speak for an order that is being carried out.
  const claimed = await reachingAws(deps.mailbox.claim(requestId));
  if (claimed === undefined) {
    if ((await reachingAws(deps.mailbox.readOrder(requestId))) !== undefined) return 'claimed-before';
    throw new ExitError(EXIT.noOrder, `there is no order ${requestId} in this host's mailbox`);
  }

  let outcome: { result: StageResult } | { failure: FailureReport };
  try {
    const order = parseOrder(claimed.order, identity);
    mustBeForNowAndHere(order, deps);
    const result = await runStage(deps, order);
    if (result === 'mover-reports') return 'mover-reports';
    outcome = { result };
  } catch (error) {
    outcome = { failure: failureOf(error) };
  }
  await reachingAws(new Reporter(deps.mailbox, deps.clock, identity).end(outcome, REPORT_PATIENCE_MS));
  return 'reported';
}

function runStage(deps: AgentDeps, order: Order): Promise<StageResult | 'mover-reports'> {
  switch (order.stage) {
    case 'preflight':
      return order.role === 'source' ? preflightSource(deps, order) : preflightDestination(deps, order);
    case 'storage':
      return storage(deps, order);
    case 'precopy':
      return precopy(deps, order);
    case 'cutover':
      return cutover(deps, order);
    case 'watch':
      return watch(deps, order);
    case 'verify':
      return verify(deps, order);
    case 'abort':
      return abort(deps, order);
    case 'inspect':
      return inspect(deps, order);
  }
}

/** Throws OrderInvalid, naming each fault. */
export function parseOrder(raw: unknown, identity: RequestIdentity): Order {
  const parsed = OrderSchema.safeParse(raw);
  if (!parsed.success) {
    const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'order'}: ${message}`);
    throw new HandoffError('OrderInvalid', `the order is malformed: ${faults.join('; ')}`);
  }
  const order = parsed.data;
  for (const field of ['requestId', 'migrationId', 'stage', 'role'] as const) {
    if (order[field] !== identity[field]) {
      throw new HandoffError('OrderInvalid', `the order under ${identity.requestId} has ${field} "${order[field]}"`);
    }
  }
  return order;
}

/** Throws OrderMisdirected or OrderExpired. */
function mustBeForNowAndHere(order: Order, { clock, hostId }: Pick<AgentDeps, 'clock' | 'hostId'>): void {
  const meant = 'source' in order ? order[order.role].hostId : order.hostId;
  if (order.hostId !== meant || order.hostId !== (hostId ?? meant)) {
    throw new HandoffError(
      'OrderMisdirected',
      `the order is for host "${order.hostId}", but its ${order.role} is "${meant}" and this host is "${hostId ?? 'unnamed'}"`,
    );
  }
  if (clock.now() > Date.parse(order.expiresAt)) {
    throw new HandoffError(
      'OrderExpired',
      `the order was to be begun by ${order.expiresAt}; the control plane waits no longer`,
    );
  }
}

/** `<migration>.<stage>.<role>.<attempt>`: enough to report on an order that cannot be read. */
export function identityOf(requestId: string): RequestIdentity {
  const [migrationId, stage, role] = requestId.split('.');
  const known = { stage: StageName.safeParse(stage), role: Role.safeParse(role) };
  if (migrationId === undefined || !known.stage.success || !known.role.success) {
    throw new ExitError(EXIT.usage, `"${requestId}" is not a request id: <migration>.<stage>.<role>.<attempt>`);
  }
  return { requestId, migrationId, stage: known.stage.data, role: known.role.data };
}

async function reachingAws<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (cause) {
    const message = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    throw new ExitError(EXIT.unavailable, `the mailbox could not be reached: ${message}`, { cause });
  }
}
