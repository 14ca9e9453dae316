import { signalQemu, startLibvirtd, stopLibvirtd } from '../hosts/libvirtd.ts';
import { exec } from '../hosts/node.ts';
import type { HostName } from '../hosts/plan.ts';
import type { FaultTestbed } from './fault-testbed.ts';

/** What a fault needs to know of the migration it strikes. */
export interface Field {
  stand: FaultTestbed;
  vm: string;
  from: HostName;
  to: HostName;
  migrationId(): string;
}

export interface Fault {
  name: string;
  what: string;
  /** Rejects with NothingToStrike when what it would strike is not there at this phase. */
  strike(field: Field): Promise<void>;
  /** Undoes it; harmless when it has been undone or never struck. A killed process that nobody starts again has none. */
  mend?(field: Field): Promise<void>;
  /** How long it lasts, in ms; without it, as long as the cell. */
  lastsMs?: number;
}

export class NothingToStrike extends Error {
  override readonly name = 'NothingToStrike';
}

/** As a service manager that starts it again after a while. */
const LIBVIRTD_BACK_MS = 4_000;
const SHORT_CUT_MS = 2_000;
/** Longer than a heartbeat, and shorter than the silence after which recovery begins in a cell. */
const SHORT_STOP_MS = 5_000;

export const FAULTS: readonly Fault[] = [
  {
    name: 'mover',
    what: 'the mover is killed',
    async strike({ stand, from, migrationId }) {
      const { exitCode } = await exec(stand.lab, from, ['pkill', '-KILL', '-f', `mover ${migrationId()}\\.`]);
      if (exitCode !== 0) throw new NothingToStrike('the mover had ended');
    },
  },
  {
    name: 'mover-stopped-5s',
    what: `the mover is stopped, and goes on ${SHORT_STOP_MS / 1000} s later`,
    strike: stopMover,
    mend: letMoversGoOn,
    lastsMs: SHORT_STOP_MS,
  },
  { name: 'mover-stopped', what: 'the mover is stopped for good', strike: stopMover, mend: letMoversGoOn },
  libvirtd('source', ({ from }) => from),
  libvirtd('destination', ({ to }) => to),
  qemu('source', ({ from }) => from),
  qemu('destination', ({ to }) => to),
  ...cuts('hosts-link', 'the link between the hosts fails', {
    strike: ({ stand }) => stand.cutBetweenHosts(),
    mend: ({ stand }) => stand.mendBetweenHosts(),
  }),
  ...cuts('source-aws', 'the source loses its way to AWS', {
    strike: ({ stand, from }) => stand.cutFromAws(from),
    mend: ({ stand, from }) => stand.mendToAws(from),
  }),
  ...cuts('destination-aws', 'the destination loses its way to AWS', {
    strike: ({ stand, to }) => stand.cutFromAws(to),
    mend: ({ stand, to }) => stand.mendToAws(to),
  }),
];

/** As a process that somebody stops, or whose host has no time for it. */
async function stopMover({ stand, from, migrationId }: Field): Promise<void> {
  const { exitCode } = await exec(stand.lab, from, ['pkill', '-STOP', '-f', `mover ${migrationId()}\\.`]);
  if (exitCode !== 0) throw new NothingToStrike('the mover had ended');
}

async function letMoversGoOn({ stand, from }: Field): Promise<void> {
  await exec(stand.lab, from, ['pkill', '-CONT', '-f', 'handoff-agent.* mover ']);
}

function libvirtd(role: string, hostOf: (field: Field) => HostName): Fault {
  return {
    name: `${role}-libvirtd`,
    what: `the ${role}'s libvirtd is killed, and started again ${LIBVIRTD_BACK_MS / 1000} s later`,
    strike: (field) => stopLibvirtd(field.stand.lab, hostOf(field), 'SIGKILL'),
    async mend(field) {
      const { lab } = field.stand;
      const { exitCode } = await exec(lab, hostOf(field), ['pgrep', '-x', 'libvirtd']);
      if (exitCode !== 0) await startLibvirtd(lab, hostOf(field));
    },
    lastsMs: LIBVIRTD_BACK_MS,
  };
}

function qemu(role: string, hostOf: (field: Field) => HostName): Fault {
  return {
    name: `${role}-qemu`,
    what: `the ${role}'s QEMU is killed`,
    async strike(field) {
      try {
        await signalQemu(field.stand.lab, hostOf(field), field.vm, 'SIGKILL');
      } catch (cause) {
        throw new NothingToStrike(`the ${role} had no QEMU of this VM`, { cause });
      }
    },
  };
}

function cuts(name: string, what: string, way: Required<Pick<Fault, 'strike' | 'mend'>>): Fault[] {
  const { strike, mend } = way;
  return [
    { name: `${name}-2s`, what: `${what} for ${SHORT_CUT_MS / 1000} s`, strike, mend, lastsMs: SHORT_CUT_MS },
    { name, what: `${what} for good`, strike, mend },
  ];
}
