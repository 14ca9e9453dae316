import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { MigrationView } from '../../contract/api.ts';
import { type Access, ApiClient } from '../api-client.ts';
import type { CommandContext } from '../command-context.ts';
import { functionLogs } from '../embedded-logs.ts';
import { getMigration } from '../follow-migration.ts';
import { addHelp } from '../help.ts';

const LOG_GROUPS = '/aws/lambda/handoff-';

/** One line of a log, as it was written. */
interface Line {
  at: number;
  origin: string;
  text: string;
}

export function addLogsCommand(program: Command, context: CommandContext): void {
  addHelp(
    program
      .command('logs')
      .description('Shows where the logs of a migration are; of an embedded AWS, shows the logs themselves.')
      .argument('<id>', 'the migration’s id, such as web01-5f2c9a7be1'),
    'logs web01-5f2c9a7be1',
    'On AWS: ready commands and links, for functions, executions and hosts. With an embedded AWS that runs from this folder:',
    'the lines of its functions, and of the lab hosts’ agents, in order of time; with --json as they were written.',
  ).action(async (id: string) => {
    const access = await context.access();
    const view = await getMigration(new ApiClient(access), id);
    if (access.embedded === undefined) {
      const places = placesOf(view, access.region);
      context.print(places, placesText(places));
      return;
    }
    for (const line of await linesOf(id, access)) console.log(context.json ? line.text : readable(line));
  });
}

function placesOf({ migrationId, source, destination, requestedAt, consoleUrl }: MigrationView, region: string) {
  const groups = `aws logs describe-log-groups --region ${region} --log-group-name-prefix ${LOG_GROUPS} --query 'logGroups[].logGroupName' --output text`;
  return {
    functions:
      `for group in $(${groups}); do aws logs filter-log-events --region ${region} --log-group-name "$group" ` +
      `--start-time ${Date.parse(requestedAt)} --filter-pattern '"${migrationId}"' --query 'events[].message' --output text; done`,
    execution: consoleUrl,
    hosts: [source, destination],
    agents: `grep -h '"migrationId":"${migrationId}"' /var/log/handoff/agent.jsonl*`,
    mover: `journalctl -u handoff-${migrationId}`,
  };
}

function placesText({ functions, execution, hosts, agents, mover }: ReturnType<typeof placesOf>): string {
  return [
    `Functions: the log groups ${LOG_GROUPS}*:`,
    `  ${functions}`,
    'Execution:',
    `  ${execution}`,
    `Agents, on ${hosts.join(' and on ')} (or where HANDOFF_LOG_FILE says):`,
    `  ${agents}`,
    `Mover, on ${hosts[0]}:`,
    `  ${mover}`,
  ].join('\n');
}

/** All lines of the migration that this machine has, oldest first. */
async function linesOf(migrationId: string, access: Access): Promise<Line[]> {
  const functions = (await functionLogs(access, LOG_GROUPS, migrationId)).map(
    ({ group, timestamp, message }): Line => ({
      at: timestamp,
      origin: group.slice('/aws/lambda/'.length),
      text: message,
    }),
  );
  const agents = Object.entries(access.embedded?.agentLogs ?? {}).flatMap(([host, file]) =>
    agentLines(file, migrationId).map(
      (text): Line => ({ at: Date.parse(String(fieldsOf(text).time)), origin: `agent on ${host}`, text }),
    ),
  );
  return [...functions, ...agents].sort((a, b) => a.at - b.at);
}

/** Of the file and the old files it was rotated to. */
function agentLines(file: string, migrationId: string): string[] {
  return [file, ...[1, 2, 3, 4].map((number) => `${file}.${number}`)]
    .filter((path) => existsSync(path))
    .flatMap((path) => readFileSync(path, 'utf8').split('\n'))
    .filter((text) => text !== '' && fieldsOf(text).migrationId === migrationId);
}

function fieldsOf(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    // A function may write lines that are not JSON.
    return {};
  }
}

function readable({ at, origin, text }: Line): string {
  const { level = '', message = text, requestId, detail } = fieldsOf(text);
  const more = [requestId, detail === undefined ? undefined : JSON.stringify(detail)].filter(
    (part) => part !== undefined,
  );
  return [new Date(at).toISOString(), origin.padEnd(28), String(level).toUpperCase().padEnd(5), message, ...more].join(
    '  ',
  );
}
