import type { Command } from 'commander';
import type { ApiClient } from '../api-client.ts';
import type { CommandContext } from '../command-context.ts';
import { EXIT } from '../exit-codes.ts';
import { addHelp } from '../help.ts';
import { type PolicyOptions, policyOf, withPolicyOptions } from '../policy-options.ts';

const WATCH = ['--watch', 'follow it until it has ended'] as const;
const POLL_MS = 1_000;

/** `evacuate` and `evacuation`. */
export function addEvacuationCommands(program: Command, context: CommandContext): void {
  addHelp(
    withPolicyOptions(
      program
        .command('evacuate')
        .description('Empties a host: cordons it and migrates every running VM away. No VM is ever stopped.')
        .argument('<host>', 'the host’s name in Handoff'),
    )
      .option(...WATCH)
      .option('--reason <text>', 'why, for the record'),
    'evacuate rack4-kvm07 --reason "new fans" --watch',
    'A VM that cannot move stays running and is named with its failed checks. Back into use: handoff uncordon.',
  ).action(async (host: string, { watch, reason, ...policy }: EvacuateOptions) => {
    const api = await context.client();
    const started = await api.call<{ evacuationId: string; consoleUrl: string }>(
      'POST',
      `/hosts/${encodeURIComponent(host)}/evacuate`,
      { body: { policy: policyOf(policy), ...(reason && { reason }) } },
    );
    const { evacuationId, consoleUrl } = started;
    if (watch) return followToEnd(context, api, evacuationId);
    context.print(
      started,
      `Started ${evacuationId}; ${host} accepts no more VMs.\nFollow it: handoff evacuation ${evacuationId} --watch, or ${consoleUrl}`,
    );
  });

  addHelp(
    program
      .command('evacuation')
      .description('Shows the progress or the outcome of an evacuation.')
      .argument('<id>', 'the evacuation’s id, as "handoff evacuate" prints it')
      .option(...WATCH),
    'evacuation evacuate-rack4-kvm07-5f2c9a7be1 --watch',
  ).action(async (id: string, { watch }: { watch?: boolean }) => {
    const api = await context.client();
    if (watch) return followToEnd(context, api, id);
    const view = await getEvacuation(api, id);
    context.print(view, describeEvacuation(view));
  });
}

interface EvacuateOptions extends PolicyOptions {
  watch?: boolean;
  reason?: string;
}

interface EvacuationView {
  evacuationId: string;
  status: string;
  result?: { moved?: { vm: string; to: string }[]; stays?: { vm: string; why: string }[]; duplicateOf?: string };
  failure?: { code: string; message: string };
  consoleUrl: string;
}

const getEvacuation = (api: ApiClient, id: string): Promise<EvacuationView> =>
  api.call('GET', `/evacuations/${encodeURIComponent(id)}`);

async function followToEnd(context: CommandContext, api: ApiClient, id: string): Promise<void> {
  let view = await getEvacuation(api, id);
  while (view.status === 'RUNNING') {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    view = await getEvacuation(api, id);
  }
  context.print(view, describeEvacuation(view));
  process.exitCode = view.status === 'SUCCEEDED' ? EXIT.ok : EXIT.failed;
}

function describeEvacuation(view: EvacuationView): string {
  return [
    `${view.evacuationId}: ${view.status}`,
    ...(view.result?.duplicateOf ? [`  already under way: ${view.result.duplicateOf}`] : []),
    ...(view.result?.moved ?? []).map(({ vm, to }) => `  moved  ${vm} -> ${to}`),
    ...(view.result?.stays ?? []).map(({ vm, why }) => `  stays  ${vm} ${why}`),
    ...(view.failure === undefined ? [] : [`  ${view.failure.code}: ${view.failure.message}`]),
    `  console  ${view.consoleUrl}`,
  ].join('\n');
}
