import type { Clock } from '../../common/clock.ts';
import type { BusEvent } from '../events/event-bridge.ts';
import { type Command, type CommandInvocation, type CommandStatus, commandStatus, isOver } from './command.ts';
import { commandEvent, invocationEvent } from './events.ts';
import type { ManagedNode } from './node.ts';

export interface LifecycleOptions {
  clock: Clock;
  region: string;
  account: string;
  emit: (event: BusEvent) => void;
  /** Kills what runs, and ends waiting. */
  signal: AbortSignal;
}

/** Takes invocations from Pending to their end, and emits an event at every change of status. */
export function createLifecycle(options: LifecycleOptions) {
  const { clock, signal: stopped } = options;

  /** Invocations that wait or run. */
  const current = new Set<CommandInvocation>();
  const stop = () => {
    for (const { begun, cancelled } of current) {
      begun.abort('stopped');
      cancelled.abort('stopped');
    }
  };
  stopped.addEventListener('abort', stop, { once: true });

  async function expireUndelivered(command: Command, invocation: CommandInvocation): Promise<void> {
    await clock.sleep(command.timeoutSeconds * 1_000, invocation.begun.signal);
    if (invocation.status === 'Pending' && !stopped.aborted) end(command, invocation, 'TimedOut', 'DeliveryTimedOut');
  }

  async function run(command: Command, invocation: CommandInvocation, node: ManagedNode): Promise<void> {
    if (invocation.status !== 'Pending' || stopped.aborted) return;
    invocation.begun.abort('begun');
    invocation.startedAt = clock.now();
    change(command, invocation, 'InProgress');

    const { script, env, timeoutSeconds } = command.rendered;
    const runtime = {
      AWS_SSM_INSTANCE_ID: node.id,
      AWS_SSM_REGION_NAME: options.region,
      SSM_COMMAND_ID: command.id,
    };
    const step = { script, env: { ...env, ...runtime }, timeoutSeconds };
    const { cancelled } = invocation;
    const finished = node.executor
      .run(step, cancelled.signal)
      .catch((error: unknown) => ({ exitCode: -1, stdout: '', stderr: `The node could not run the script: ${error}` }));
    const { promise: interrupted, resolve: interrupt } = Promise.withResolvers<undefined>();
    cancelled.signal.addEventListener('abort', () => interrupt(undefined), { once: true });
    const cancelTimer = clock.timer(timeoutSeconds * 1_000, () => interrupt(undefined));
    const output = await Promise.race([finished, interrupted]);
    cancelTimer();

    if (stopped.aborted) return;
    if (cancelled.signal.aborted) return end(command, invocation, 'Cancelled');
    if (output === undefined) {
      cancelled.abort('timed out');
      return end(command, invocation, 'TimedOut', 'ExecutionTimedOut');
    }
    invocation.output = output;
    end(command, invocation, output.exitCode === 0 ? 'Success' : 'Failed');
  }

  function end(command: Command, invocation: CommandInvocation, status: CommandStatus, details: string = status): void {
    invocation.endedAt = clock.now();
    current.delete(invocation);
    change(command, invocation, status, details);
  }

  function change(
    command: Command,
    invocation: CommandInvocation,
    status: CommandStatus,
    details: string = status,
  ): void {
    const before = commandStatus(command);
    invocation.status = status;
    invocation.statusDetails = details;
    options.emit(invocationEvent(command, invocation, options));
    if (commandStatus(command) !== before) options.emit(commandEvent(command, options));
  }

  return {
    start(command: Command, invocation: CommandInvocation, node: ManagedNode): void {
      current.add(invocation);
      node.enqueue(() => run(command, invocation, node));
      if (invocation.status === 'Pending') void expireUndelivered(command, invocation);
    },
    /** Kills the script if it runs; nothing happens to an invocation that is over. */
    cancel(command: Command, invocation: CommandInvocation): void {
      if (isOver(invocation)) return;
      invocation.begun.abort('cancelled');
      invocation.cancelled.abort('cancelled');
      if (invocation.status === 'Pending') end(command, invocation, 'Cancelled');
    },
  };
}
