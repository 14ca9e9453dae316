import type { Clock } from '../common/clock.ts';
import type { TaskOf } from '../contract/tasks.ts';
import type { HostFacts } from './host/facts.ts';
import type { HypervisorConnection } from './hypervisor.ts';
import type { Log } from './log/log.ts';
import type { Mailbox } from './mailbox.ts';
import type { ImageFiles } from './migrated-storage/images.ts';

/** Everything a stage can touch. A simulated host hands in its own and runs the very same code in process. */
export interface AgentDeps {
  mailbox: Mailbox;
  clock: Clock;
  /** Rejects with a HypervisorError when that libvirt cannot be reached. */
  connect(uri: string): Promise<HypervisorConnection>;
  /** The URI under which this host's agent reaches its own libvirt. */
  localUri: string;
  facts: HostFacts;
  images: ImageFiles;
  movers: Movers;
  observers: Observers;
  /** What this host's agent and movers do, in lines for people and tests. */
  log: Log;
  /** Whether a broken post-copy is resumed on any libvirt, also on a version known to crash from it. Default: not there. */
  resumeAlways?: boolean;
  /** The host's name in Handoff, where its administrator has set it (HANDOFF_HOST_ID); tasks for another are refused. */
  hostId?: string;
}

/** The movers of this host: one for each migration that leaves it, each outliving the command that started it. */
export interface Movers {
  /** Starts a mover for a claimed task. Resolves once the mover answers; from then on the mover reports for itself. */
  start(task: TaskOf<'precopy'>): Promise<void>;
  /** Passes the cutover on to the migration's mover, which reports for itself. False when there is no mover. */
  cutover(migrationId: string, requestId: string): Promise<boolean>;
  /** Kills the migration's mover, if any, and resolves only once it is proven dead. */
  fence(migrationId: string): Promise<'none' | 'killed'>;
}

/** The observers of this host: one for each migration that comes to it, each outliving the command that started it. */
export interface Observers {
  /** Starts an observer for a claimed task; it reports for itself. Does not wait until it observes. */
  start(task: TaskOf<'observe-guest'>): Promise<void>;
}
