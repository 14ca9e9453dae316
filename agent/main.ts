/**
 * The command `handoff-agent`. What a command needs is loaded by the command: --version and a wrong command line answer
 * without the AWS SDK.
 */
import { Command, CommanderError } from 'commander';
import type { Environment } from './environment.ts';
import { EXIT, ExitError, readEnvironment } from './environment.ts';

declare const HANDOFF_VERSION: string | undefined;
const VERSION = typeof HANDOFF_VERSION === 'undefined' ? 'development' : HANDOFF_VERSION;

const EXIT_CODES = `
Exit codes:
  ${EXIT.reported}   the request is settled and reported (a failed stage too), or handed to the migration's mover
  ${EXIT.usage}  the command line is wrong
  ${EXIT.noTask}  there is no such order in this host's mailbox
  ${EXIT.unavailable}  the mailbox could not be reached, so nothing was reported
  ${EXIT.internal}  a fault of the agent's own
  ${EXIT.configuration}  the environment is incomplete or malformed

Environment:
  HANDOFF_MAILBOX_TABLE, HANDOFF_ROLE_ID, AWS_REGION   set by the SSM document
  AWS_SSM_INSTANCE_ID                                  set by the SSM agent
  AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE             where the SSM agent keeps the host's credentials
  HANDOFF_HOST_ID        this host's name in Handoff: orders for another host are refused (optional)
  HANDOFF_LIBVIRT_URI    this host's own libvirt (qemu:///system)
  HANDOFF_RUN_DIR        where movers keep sockets and pid files (/run/handoff)
  HANDOFF_POSTCOPY_RESUME  always: resume a broken post-copy also on a libvirt of a version known to crash from it (optional)
  HANDOFF_LAUNCHER       systemd or spawn: how movers are started (systemd where it runs)
`;

const program = new Command('handoff-agent')
  .description("Carries out one order of this host's mailbox.")
  .version(VERSION)
  .addHelpText('after', EXIT_CODES)
  .exitOverride();

program
  .command('run')
  .description('run one stage of a migration (SSM calls this)')
  .argument('<requestId>', 'which order of the mailbox, such as web01-5f2c.preflight.source.1')
  .action(async (requestId: string) => {
    const environment = readEnvironment(process.env);
    const { runRequest } = await import('./run.ts');
    console.log(`${requestId}: ${await runRequest(requestId, await realDeps(environment))}`);
  });

program
  .command('mover', { hidden: true })
  .argument('<requestId>', 'the claimed pre-copy order')
  .action(async (requestId: string) => {
    const environment = readEnvironment(process.env);
    const [{ Mover }, { runMoverProcess }, { identityOf, parseTask }] = await Promise.all([
      import('./mover/mover.ts'),
      import('./mover/process.ts'),
      import('./run.ts'),
    ]);
    const deps = await realDeps(environment);
    const task = parseTask(await deps.mailbox.readTask(requestId), identityOf(requestId));
    if (task.stage !== 'precopy') throw new ExitError(EXIT.usage, `${requestId} is not a pre-copy order`);
    const mover = new Mover({ ...deps, log: (message) => console.error(message) }, task);
    await runMoverProcess(mover, task.migrationId, environment.runDirectory);
  });

async function realDeps(environment: Environment) {
  const [{ systemClock }, { hostMailbox }, { linuxFacts }, { linuxImages }, { connectLibvirt }, { MoverProcesses }] =
    await Promise.all([
      import('../common/clock.ts'),
      import('./dynamo.ts'),
      import('./host/linux.ts'),
      import('./migrated-storage/linux-images.ts'),
      import('./libvirt/connect.ts'),
      import('./mover/process.ts'),
    ]);
  const { runDirectory, launcher, localUri, hostId, resumeAlways } = environment;
  return {
    clock: systemClock,
    mailbox: hostMailbox(environment),
    facts: linuxFacts,
    images: linuxImages,
    connect: (uri: string) => connectLibvirt(uri),
    movers: new MoverProcesses({
      runDirectory,
      launcher,
      clock: systemClock,
      command: [process.execPath, ...process.execArgv, process.argv[1]!],
      env: process.env,
    }),
    localUri,
    resumeAlways,
    ...(hostId !== undefined && { hostId }),
  };
}

try {
  await program.parseAsync();
  // Kept-alive connections would hold the process for as long as AWS keeps them.
  process.exit(EXIT.reported);
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : EXIT.usage);
  if (error instanceof ExitError) {
    console.error(`handoff-agent: ${error.message}`);
    process.exit(error.exitCode);
  }
  console.error('handoff-agent:', error);
  process.exit(EXIT.internal);
}
