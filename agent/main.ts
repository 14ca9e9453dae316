/**
 * The command `handoff-agent`. What a command needs is loaded by the command: --version and a wrong command line answer
 * without the AWS SDK.
 */
import { Command, CommanderError } from 'commander';
import type { Environment } from './environment.ts';
import { EXIT, ExitError, readEnvironment } from './environment.ts';
import type { Log } from './log/log.ts';

declare const HANDOFF_VERSION: string | undefined;
const VERSION = typeof HANDOFF_VERSION === 'undefined' ? 'development' : HANDOFF_VERSION;

const EXIT_CODES = `
Exit codes:
  ${EXIT.reported}   the request is settled and reported (a failed stage too), or handed to the migration's mover
  ${EXIT.usage}  the command line is wrong
  ${EXIT.noTask}  there is no such task in this host's mailbox
  ${EXIT.unavailable}  the mailbox could not be reached, so nothing was reported
  ${EXIT.internal}  a fault of the agent's own
  ${EXIT.configuration}  the environment is incomplete or malformed

Environment:
  HANDOFF_MAILBOX_TABLE, HANDOFF_ROLE_ID, AWS_REGION   set by the SSM document
  AWS_SSM_INSTANCE_ID                                  set by the SSM agent
  AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE             where the SSM agent keeps the host's credentials
  HANDOFF_HOST_ID        this host's name in Handoff: tasks for another host are refused (optional)
  HANDOFF_LIBVIRT_URI    this host's own libvirt (qemu:///system)
  HANDOFF_RUN_DIR        where movers keep sockets and pid files (/run/handoff)
  HANDOFF_LOG_FILE       what the agent and its movers do, as JSON lines (/var/log/handoff/agent.jsonl)
  HANDOFF_LOG_MAX_MIB    the size at which that file is rotated; four old files are kept (10)
  HANDOFF_POSTCOPY_RESUME  always: resume a broken post-copy also on a libvirt of a version known to crash from it (optional)
  HANDOFF_LAUNCHER       systemd or spawn: how movers are started (systemd where it runs)
`;

const program = new Command('handoff-agent')
  .description("Carries out one task of this host's mailbox.")
  .version(VERSION)
  .addHelpText('after', EXIT_CODES)
  .exitOverride();

program
  .command('run')
  .description('run one stage of a migration (SSM calls this)')
  .argument('<requestId>', 'which task of the mailbox, such as web01-5f2c.preflight.source.1')
  .action(async (requestId: string) => {
    const environment = readEnvironment(process.env);
    const { runRequest } = await import('./run.ts');
    await withLog(environment, async (log) => {
      console.log(`${requestId}: ${await runRequest(requestId, await realDeps(environment, log))}`);
    });
  });

program
  .command('mover', { hidden: true })
  .argument('<requestId>', 'the claimed pre-copy task')
  .action(async (requestId: string) => {
    const environment = readEnvironment(process.env);
    const [{ Mover }, { runMoverProcess }, { identityOf, parseTask }] = await Promise.all([
      import('./mover/mover.ts'),
      import('./mover/process.ts'),
      import('./run.ts'),
    ]);
    await withLog(environment, async (log) => {
      const deps = await realDeps(environment, log);
      const task = parseTask(await deps.mailbox.readTask(requestId), identityOf(requestId));
      if (task.stage !== 'precopy') throw new ExitError(EXIT.usage, `${requestId} is not a pre-copy task`);
      await runMoverProcess(new Mover(deps, task), task.migrationId, environment.runDirectory);
    });
  });

/** Opens the log for the time of `use`, which ends with all lines written. */
async function withLog(environment: Environment, use: (log: Log) => Promise<void>): Promise<void> {
  const [{ openAgentLog }, { systemClock }] = await Promise.all([
    import('./log/agent-log.ts'),
    import('../common/clock.ts'),
  ]);
  const { log, flush } = openAgentLog(environment, systemClock);
  try {
    await use(log);
  } catch (error) {
    log.error(`the agent ended with an error: ${error instanceof Error ? error.message : error}`, {
      argv: process.argv.slice(2),
    });
    throw error;
  } finally {
    await flush();
  }
}

program
  .command('observe', { hidden: true })
  .argument('<requestId>', 'the claimed observe-guest task')
  .action(async (requestId: string) => {
    const environment = readEnvironment(process.env);
    const [{ runObserver }, { identityOf, parseTask }] = await Promise.all([
      import('./observe/observer.ts'),
      import('./run.ts'),
    ]);
    await withLog(environment, async (log) => {
      const deps = await realDeps(environment, log);
      const task = parseTask(await deps.mailbox.readTask(requestId), identityOf(requestId));
      if (task.stage !== 'observe-guest') throw new ExitError(EXIT.usage, `${requestId} is not an observe-guest task`);
      await runObserver(deps, task);
    });
  });

async function realDeps(environment: Environment, log: Log) {
  const [
    { systemClock },
    { hostMailbox },
    { linuxFacts },
    { linuxImages },
    { connectLibvirt },
    { MoverProcesses },
    { ObserverProcesses },
  ] = await Promise.all([
    import('../common/clock.ts'),
    import('./dynamo.ts'),
    import('./host/linux.ts'),
    import('./migrated-storage/linux-images.ts'),
    import('./libvirt/connect.ts'),
    import('./mover/process.ts'),
    import('./observe/process.ts'),
  ]);
  const { runDirectory, launcher, localUri, hostId, resumeAlways } = environment;
  const detached = {
    runDirectory,
    launcher,
    command: [process.execPath, ...process.execArgv, process.argv[1]!],
    env: process.env,
  };
  return {
    clock: systemClock,
    mailbox: hostMailbox(environment),
    log,
    facts: linuxFacts,
    images: linuxImages,
    connect: (uri: string) => connectLibvirt(uri),
    movers: new MoverProcesses({ ...detached, clock: systemClock }),
    observers: new ObserverProcesses(detached),
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
