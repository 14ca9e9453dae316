import { signalQemu, startLibvirtd, stopLibvirtd } from '../hosts/libvirtd.ts';
import { exec } from '../hosts/node.ts';
import type { HostName } from '../hosts/plan.ts';
import type { FaultTestbed } from './fault-testbed.ts';

/** The migration that a fault is injected into. */
export interface FaultContext {
  testbed: FaultTestbed;
  vm: string;
  from: HostName;
  to: HostName;
  migrationId(): string;
}

export interface FaultSpec {
  name: string;
  what: string;
  /** Rejects with NothingToInject when its target does not exist at this phase. */
  inject(context: FaultContext): Promise<void>;
  /** Undoes it; has no effect on a fault that is not there. A killed process that nobody restarts has none. */
  revert?(context: FaultContext): Promise<void>;
  /** How long it lasts, in ms; without it, until the end of the case. */
  lastsMs?: number;
}

export class NothingToInject extends Error {
  override readonly name = 'NothingToInject';
}

/** As a service manager restarts it. */
const LIBVIRTD_BACK_MS = 4_000;
const SHORT_CUT_MS = 2_000;
/** Longer than a heartbeat, and shorter than the heartbeat timeout of a case. */
const SHORT_STOP_MS = 5_000;

export const FAULTS: readonly FaultSpec[] = [
  {
    name: 'mover',
    what: 'the mover is killed',
    async inject({ testbed, from, migrationId }) {
      const { exitCode } = await exec(testbed.lab, from, ['pkill', '-KILL', '-f', `mover ${migrationId()}\\.`]);
      if (exitCode !== 0) throw new NothingToInject('the mover had ended');
    },
  },
  {
    name: 'mover-stopped-5s',
    what: `the mover is stopped, and continues ${SHORT_STOP_MS / 1000} s later`,
    inject: stopMover,
    revert: continueMovers,
    lastsMs: SHORT_STOP_MS,
  },
  { name: 'mover-stopped', what: 'the mover is stopped permanently', inject: stopMover, revert: continueMovers },
  libvirtd('source', ({ from }) => from),
  libvirtd('destination', ({ to }) => to),
  qemu('source', ({ from }) => from),
  qemu('destination', ({ to }) => to),
  ...cuts('hosts-link', 'the link between the hosts fails', {
    inject: ({ testbed }) => testbed.cutHostsLink(),
    revert: ({ testbed }) => testbed.restoreHostsLink(),
  }),
  ...cuts('source-aws', 'the source loses its connection to AWS', {
    inject: ({ testbed, from }) => testbed.cutFromAws(from),
    revert: ({ testbed, from }) => testbed.restoreAws(from),
  }),
  ...cuts('destination-aws', 'the destination loses its connection to AWS', {
    inject: ({ testbed, to }) => testbed.cutFromAws(to),
    revert: ({ testbed, to }) => testbed.restoreAws(to),
  }),
];

/** As by an operator's SIGSTOP, or on a host without CPU time. */
async function stopMover({ testbed, from, migrationId }: FaultContext): Promise<void> {
  const { exitCode } = await exec(testbed.lab, from, ['pkill', '-STOP', '-f', `mover ${migrationId()}\\.`]);
  if (exitCode !== 0) throw new NothingToInject('the mover had ended');
}

async function continueMovers({ testbed, from }: FaultContext): Promise<void> {
  await exec(testbed.lab, from, ['pkill', '-CONT', '-f', 'handoff-agent.* mover ']);
}

function libvirtd(role: string, hostOf: (context: FaultContext) => HostName): FaultSpec {
  return {
    name: `${role}-libvirtd`,
    what: `the ${role}'s libvirtd is killed, and started again ${LIBVIRTD_BACK_MS / 1000} s later`,
    inject: (context) => stopLibvirtd(context.testbed.lab, hostOf(context), 'SIGKILL'),
    async revert(context) {
      const { lab } = context.testbed;
      const { exitCode } = await exec(lab, hostOf(context), ['pgrep', '-x', 'libvirtd']);
      if (exitCode !== 0) await startLibvirtd(lab, hostOf(context));
    },
    lastsMs: LIBVIRTD_BACK_MS,
  };
}

function qemu(role: string, hostOf: (context: FaultContext) => HostName): FaultSpec {
  return {
    name: `${role}-qemu`,
    what: `the ${role}'s QEMU is killed`,
    async inject(context) {
      try {
        await signalQemu(context.testbed.lab, hostOf(context), context.vm, 'SIGKILL');
      } catch (cause) {
        throw new NothingToInject(`the ${role} had no QEMU of this VM`, { cause });
      }
    },
  };
}

function cuts(name: string, what: string, fault: Required<Pick<FaultSpec, 'inject' | 'revert'>>): FaultSpec[] {
  const { inject, revert } = fault;
  return [
    { name: `${name}-2s`, what: `${what} for ${SHORT_CUT_MS / 1000} s`, inject, revert, lastsMs: SHORT_CUT_MS },
    { name, what: `${what} permanently`, inject, revert },
  ];
}
