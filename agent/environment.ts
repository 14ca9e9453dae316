import { MIB } from '../common/units.ts';
import { mailboxOf } from '../contract/mailbox.ts';
import { HostId, ManagedNodeId } from '../contract/names.ts';

/** The agent's settings: from the SSM document's script, the SSM agent, and the host's administrator. */
export interface Environment {
  region: string;
  table: string;
  /** This host's partition of the Mailbox table. */
  mailbox: string;
  hostId: string | undefined;
  /** Where movers keep their sockets and pid files; it must not survive a reboot. */
  runDirectory: string;
  localUri: string;
  launcher: 'systemd' | 'spawn' | undefined;
  /** HANDOFF_POSTCOPY_RESUME is `always`: the hosts' libvirt is patched where its version is known to crash. */
  resumeAlways: boolean;
  /** JSON lines of what the agent and the movers do (docs/logs.md). */
  logFile: string;
  /** The size at which the file is rotated. */
  logMaxBytes: number;
}

/** The agent's exit codes, those of sysexits.h. A stage that failed and was reported is a 0: the failure is in the report. */
export const EXIT = {
  reported: 0,
  /** The command line is wrong. */
  usage: 64,
  /** There is no such task in this host's mailbox. */
  noTask: 66,
  /** The mailbox could not be reached, so that no outcome was reported. */
  unavailable: 69,
  /** A fault of the agent's own. */
  internal: 70,
  /** The environment is incomplete or malformed. */
  configuration: 78,
} as const;

/** An error that ends the command with an exit code of its own. */
export class ExitError extends Error {
  override readonly name = 'ExitError';
  readonly exitCode: number;

  constructor(exitCode: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** Reads and checks the environment. Throws an ExitError that names every variable that is missing or malformed. */
export function readEnvironment(env: Record<string, string | undefined>): Environment {
  const faults: string[] = [];
  const read = (name: string, valid: (value: string) => boolean, what: string): string => {
    const value = env[name] ?? '';
    if (value === '') faults.push(`${name} is not set; it must be ${what}`);
    else if (!valid(value)) faults.push(`${name} is "${value}"; it must be ${what}`);
    return value;
  };
  const optional = (name: string, valid: (value: string) => boolean, what: string): string | undefined =>
    env[name] === undefined || env[name] === '' ? undefined : read(name, valid, what);

  const region = read('AWS_REGION', (v) => /^[a-z]{2}(-[a-z]+)+-\d$/.test(v), 'an AWS region, such as "eu-central-1"');
  const table = read('HANDOFF_MAILBOX_TABLE', (v) => /^[\w.-]{3,255}$/.test(v), "the Mailbox table's name");
  const role = read('HANDOFF_ROLE_ID', (v) => /^\w{4,128}$/.test(v), "the unique id of the hosts' IAM role (AROA...)");
  const node = read(
    'AWS_SSM_INSTANCE_ID',
    (v) => ManagedNodeId.safeParse(v).success,
    'the managed node id that the SSM agent sets, such as "mi-0123456789abcdef0"',
  );
  const hostId = optional('HANDOFF_HOST_ID', (v) => HostId.safeParse(v).success, "this host's name in Handoff");
  const runDirectory = optional('HANDOFF_RUN_DIR', (v) => v.startsWith('/'), 'an absolute path') ?? '/run/handoff';
  const localUri = optional('HANDOFF_LIBVIRT_URI', (v) => /^qemu(\+unix)?:\/\//.test(v), 'a local libvirt URI');
  const launcher = optional('HANDOFF_LAUNCHER', (v) => v === 'systemd' || v === 'spawn', '"systemd" or "spawn"');
  const resume = optional('HANDOFF_POSTCOPY_RESUME', (v) => v === 'always', '"always", or not set');
  const logFile =
    optional('HANDOFF_LOG_FILE', (v) => v.startsWith('/'), 'an absolute path') ?? '/var/log/handoff/agent.jsonl';
  const logMaxMiB =
    optional('HANDOFF_LOG_MAX_MIB', (v) => /^[1-9]\d{0,3}$/.test(v), 'a whole number from 1 to 9999') ?? '10';
  if (faults.length > 0) throw new ExitError(EXIT.configuration, faults.join('\n'));
  return {
    region,
    table,
    mailbox: mailboxOf(role, node),
    hostId,
    runDirectory,
    localUri: localUri ?? 'qemu:///system',
    launcher: launcher as Environment['launcher'],
    resumeAlways: resume === 'always',
    logFile,
    logMaxBytes: Number(logMaxMiB) * MIB,
  };
}
