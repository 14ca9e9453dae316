import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { LOCAL_FILE } from '../../../cli/api-client.ts';
import type { DemoEnvironment } from '../../../lab/demo/demo-environment.ts';
import { openSimulatedEnvironment } from '../../../lab/demo/simulated-environment.ts';

/** The real command against the simulated demo, over a socket and in real time: each run of it takes a second. */
vi.setConfig({ testTimeout: 60_000 });

const COMMAND = new URL('../../../cli/handoff.ts', import.meta.url).pathname;
/** A folder in which a demo is kept running, and one without. */
const here = mkdtempSync(join(tmpdir(), 'handoff-here-'));
const elsewhere = mkdtempSync(join(tmpdir(), 'handoff-elsewhere-'));
let environment: DemoEnvironment;

beforeAll(async () => {
  environment = await openSimulatedEnvironment(() => {});
  mkdirSync(join(here, '.handoff'));
  writeFileSync(join(here, LOCAL_FILE), JSON.stringify(environment.access));
}, 120_000);
afterAll(async () => {
  await environment?.close();
  for (const folder of [here, elsewhere]) rmSync(folder, { recursive: true });
});

interface Ran {
  exitCode: number;
  stdout: string;
  stderr: string;
}

function handoff(args: readonly string[], { cwd = here, env = {} }: { cwd?: string; env?: object } = {}): Promise<Ran> {
  const clean = { PATH: process.env.PATH, HOME: elsewhere, AWS_EC2_METADATA_DISABLED: 'true', ...env };
  return new Promise((resolve) => {
    execFile(process.execPath, [COMMAND, ...args], { cwd, env: clean }, (error, stdout, stderr) =>
      resolve({ exitCode: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

const json = ({ stdout }: Ran) => JSON.parse(stdout);

it('moves a VM and follows it to its end', async () => {
  const moved = await handoff(['migrate', 'web', '--from', 'kvm1', '--to', 'kvm2', '--watch', '--json']);
  expect(moved).toMatchObject({ exitCode: 0, stderr: '' });
  // Nothing but the answer, for programs.
  expect(moved.stdout.trim().split('\n')).toHaveLength(1);
  expect(json(moved)).toMatchObject({ vm: 'web', status: 'SUCCEEDED', runsOn: 'kvm2' });

  const listed = await handoff(['list', '--vm', 'web', '--json']);
  expect(json(listed).migrations).toMatchObject([{ migrationId: json(moved).migrationId, status: 'SUCCEEDED' }]);
  expect((await handoff(['list'])).stdout).toMatch(/^REQUESTED +ID +VM .*\n.* web-\w+ +web +kvm1 -> kvm2 +SUCCEEDED/);
  const shown = await handoff(['show', json(moved).migrationId]);
  expect(shown.stdout).toContain('runs on     kvm2');

  // The VM has left kvm1: preflight refuses.
  const refused = await handoff(['migrate', 'web', '--from', 'kvm1', '--to', 'kvm2', '--watch']);
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain('preflight');
  expect(refused.stdout).toContain('there is no VM "web"');

  const late = await handoff(['cancel', json(moved).migrationId]);
  expect(late).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('AlreadyHandedOver') });
});

it('shows the log of a migration, and on AWS where the logs are', async () => {
  const { migrations } = json(await handoff(['list', '--status', 'SUCCEEDED', '--json']));
  const id = migrations[0].migrationId;
  const lines = (await handoff(['logs', id, '--json'])).stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.map(({ migrationId }) => migrationId)).toEqual(lines.map(() => id));
  const told = lines.map(({ message }) => message);
  expect(told.indexOf('admitted')).toBeGreaterThanOrEqual(0);
  expect(told.indexOf('Task sent')).toBeGreaterThan(told.indexOf('admitted'));
  expect(told.lastIndexOf('Report received: succeeded')).toBeGreaterThan(told.indexOf('Task sent'));
  expect(lines.find(({ message }) => message === 'Task sent')).toMatchObject({
    requestId: expect.stringContaining(`${id}.preflight.`),
    hostId: expect.stringMatching(/^kvm[12]$/),
  });
  const shown = await handoff(['logs', id]);
  expect(shown.stdout).toMatch(/^\d{4}-\S+Z {2}handoff-\w+ .*INFO .* admitted/m);
  expect(shown.stdout.trim().split('\n')).toHaveLength(lines.length);

  const env = { HANDOFF_API: environment.access.url, AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' };
  const places = await handoff(['logs', id], { cwd: elsewhere, env });
  expect(places.stdout).toContain(`--filter-pattern '"${id}"'`);
  expect(places.stdout).toContain(`journalctl -u handoff-${id}`);
  expect(places.stdout).toContain('/states/home?region=us-east-1#/v2/executions/details/');

  expect(await handoff(['logs', 'web-0000000000'])).toMatchObject({ exitCode: 3 });
});

it('forecasts a move from where the last one left the VM, and exits with 1 when it would be refused', async () => {
  const would = await handoff(['forecast', 'web', '--to', 'kvm1']);
  expect(would).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^web, kvm2 -> kvm1: would be moved\n/) });
  for (const line of [
    /time +\S+ m?s \(.* to .*\)/,
    /blackout +/,
    /plan +plain/,
    /link +1\.1 GiB\/s \(measured now\)/,
  ]) {
    expect(would.stdout).toMatch(line);
  }
  const slow = ['--bandwidth', '20', '--no-auto-converge'];
  const wouldNot = await handoff(['forecast', 'web', '--to', 'kvm1', ...slow, '--json']);
  expect(wouldNot.exitCode).toBe(1);
  expect(json(wouldNot)).toMatchObject({ status: 'FORECASTED', forecast: { convergence: 'only-slowed' } });
  expect((await handoff(['forecast', 'web', '--to', 'kvm1', ...slow])).stdout).toMatch(
    /would be refused.*check +source: policy: .*onNonConvergence: postcopy/s,
  );
  const unknown = await handoff(['forecast', 'never-moved', '--to', 'kvm1']);
  expect(unknown).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('--from') });
});

it('shows how far forecasts were off', async () => {
  expect(json(await handoff(['calibration', '--json']))).toMatchObject({ migrations: 1, time: { observed: 1 } });
  expect((await handoff(['calibration'])).stdout).toMatch(/METHOD +MOVES .*\nall +1 .*\nplain +1 /);
});

it('audits, and resolves only what needs an operator', async () => {
  expect(await handoff(['audit'])).toMatchObject({ exitCode: 0, stdout: 'Nothing is left over.\n' });
  expect(json(await handoff(['audit', '--repair', '--json']))).toEqual({ findings: [] });

  const { migrations } = json(await handoff(['list', '--vm', 'web', '--json']));
  const [{ migrationId }] = migrations;
  const resolved = await handoff(['resolve', migrationId, '--owner', 'source', '--reason', 'I looked']);
  expect(resolved).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('NotInDoubt') });
});

it('lists the hosts as text and as JSON, and takes the API from HANDOFF_API too', async () => {
  expect((await handoff(['hosts'])).stdout).toMatch(/^HOST +STATE +ADDRESS .*\nkvm1 +ACTIVE +10\.0\.0\.1 /);
  const env = { HANDOFF_API: environment.access.url, AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' };
  const listed = await handoff(['hosts', '--json'], { cwd: elsewhere, env });
  expect(json(listed).hosts.map(({ hostId }: { hostId: string }) => hostId)).toEqual(['kvm1', 'kvm2']);
});

it('registers a host', async () => {
  const args = ['register', 'kvm3', '--node', 'mi-0123456789abcdef0', '--address', '10.0.0.3', '--incoming', '5'];
  const registered = await handoff([...args, '--json']);
  expect(registered.exitCode).toBe(0);
  expect(json(registered)).toMatchObject({
    hostId: 'kvm3',
    libvirtUri: 'qemu+tcp://10.0.0.3/system',
    limits: { outgoing: 2, incoming: 5 },
  });
});

it.each([
  ['an unknown command', ['explode'], 2, "unknown command 'explode'"],
  ['a missing option', ['migrate', 'web', '--from', 'kvm1'], 2, '--to <host>'],
  ['a number that is none', ['migrate', 'web', '--from', 'a', '--to', 'b', '--blackout', 'x'], 2, 'whole number'],
  ['an owner that is none', ['resolve', 'web-1', '--owner', 'both', '--reason', 'x'], 2, 'source, destination'],
  ['two filters', ['list', '--vm', 'web', '--host', 'kvm1'], 2, 'cannot be used with'],
  [
    'what the API refuses',
    ['migrate', 'a/b', '--from', 'kvm1', '--to', 'kvm2'],
    2,
    '  vm: must be a libvirt domain name',
  ],
  ['an unknown host', ['evacuate', 'kvm9'], 3, 'UnknownHost'],
  ['an unknown migration', ['show', 'web-0000000000'], 3, 'UnknownMigration'],
  [
    'an unknown migration to resolve',
    ['resolve', 'web-0', '--owner', 'source', '--reason', 'x'],
    3,
    'UnknownMigration',
  ],
  ['an unknown evacuation', ['evacuation', 'evacuate-kvm9-0'], 3, 'UnknownEvacuation'],
])('refuses %s with an exit code and a message', async (_, args, exitCode, words) => {
  expect(await handoff(args)).toMatchObject({ exitCode, stderr: expect.stringContaining(words), stdout: '' });
});

it('prints a problem as JSON with --json', async () => {
  const ran = await handoff(['show', 'web-0000000000', '--json']);
  expect(ran).toMatchObject({ exitCode: 3, stderr: '' });
  expect(json(ran)).toMatchObject({ status: 404, code: 'UnknownMigration' });
});

it('reports that no API is given, does not answer, or lacks credentials', async () => {
  expect(await handoff(['hosts'], { cwd: elsewhere })).toMatchObject({
    exitCode: 5,
    stderr: expect.stringContaining('--api'),
  });
  const env = { AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' };
  const dead = await handoff(['--api', 'http://127.0.0.1:9', 'hosts', '--json'], { cwd: elsewhere, env });
  expect(dead.exitCode).toBe(5);
  expect(json(dead)).toMatchObject({ code: 'Unreachable', detail: expect.stringContaining('127.0.0.1:9') });
  expect(await handoff(['--api', environment.access.url, 'hosts'], { cwd: elsewhere })).toMatchObject({
    exitCode: 5,
    stderr: expect.stringContaining('credentials'),
  });
});

it('shows its exit codes and its version', async () => {
  const help = await handoff(['--help']);
  expect(help.exitCode).toBe(0);
  expect(help.stdout).toContain('Exit codes: 0 done');
  expect(await handoff(['--version'])).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
  });
});

it('names the next command after a refusal', async () => {
  const { stderr } = await handoff(['show', 'web-0000000000']);
  expect(stderr).toContain('known migrations: handoff list');
});
