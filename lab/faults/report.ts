import type { Cell } from './fault-case.ts';
import { FAULTS } from './fault-catalog.ts';
import { PHASES, type Phase } from './phases.ts';
import type { AfterTheCut } from './plain-virsh.ts';

export interface FaultReport {
  /** ISO, of the last cell. */
  date: string;
  libvirt: string;
  qemu: string;
  cells: Cell[];
  doubleRunning: number;
  lost: number;
  untruthful: number;
  leaks: number;
  plainVirsh?: AfterTheCut;
  /** Handoff with the same cut as `plainVirsh`. */
  handoff?: AfterTheCut;
}

export function reportOf(
  cells: readonly Cell[],
  versions: { libvirt: string; qemu: string },
  cut: Pick<FaultReport, 'plainVirsh' | 'handoff'> = {},
): FaultReport {
  const count = (is: (cell: Cell) => boolean) => cells.filter(is).length;
  return {
    date: new Date().toISOString(),
    libvirt: versions.libvirt,
    qemu: versions.qemu,
    cells: cells.toSorted((a, b) => rank(a) - rank(b)),
    doubleRunning: count((cell) => cell.doubleRunning),
    lost: count((cell) => cell.lost),
    untruthful: count((cell) => !cell.truthful),
    leaks: count((cell) => cell.leaks.length > 0),
    ...cut,
  };
}

/** By fault, then by phase. */
function rank({ fault, phase }: Cell): number {
  return FAULTS.findIndex(({ name }) => name === fault) * 100 + Object.keys(PHASES).indexOf(phase);
}

/** What is wrong with a cell, in a word each; empty when nothing is. */
export function faultsFound({ doubleRunning, lost, truthful, leaks, status }: Cell): string[] {
  return [
    ...(doubleRunning ? ['RAN TWICE'] : []),
    ...(lost ? ['LOST'] : []),
    ...(truthful ? [] : ['RECORD WRONG']),
    ...(leaks.length > 0 ? [`LEFT: ${leaks.join(', ')}`] : []),
    ...(status === 'UNFINISHED' ? ['UNFINISHED'] : []),
  ];
}

export function cellLine(cell: Cell): string {
  const found = faultsFound(cell);
  const { fault, phase, status, states, seconds, note } = cell;
  const head = `${fault.padEnd(21)} ${phase.padEnd(10)} ${status.padEnd(14)} ${`${seconds} s`.padEnd(8)}`;
  return `${head} ${states.source} / ${states.destination}${found.length > 0 ? ` !! ${found.join(', ')}` : ''}${note === '' ? '' : ` (${note})`}`;
}

/** docs/faults.md, whole. */
export function markdown(report: FaultReport): string {
  const phases = Object.keys(PHASES) as Phase[];
  const grid = FAULTS.map(({ name, what }) => {
    const cells = phases.map((phase) => summary(report.cells.filter((c) => c.fault === name && c.phase === phase)));
    return `| ${what} (\`${name}\`) | ${cells.join(' | ')} |`;
  });
  const details = report.cells.map(
    (cell) =>
      `| \`${cell.fault}\` | ${cell.phase} | ${cell.status} | ${cell.states.source} | ${cell.states.destination} | ${cell.seconds} | ${[...faultsFound(cell).map((found) => `**${found}**`), brief(clean(cell.note))].filter((text) => text !== '').join('; ')} |`,
  );
  return `${[
    '# Faults on real libvirt',
    '',
    `Written by \`npm run lab:faults -- --write-docs\` on ${report.date.slice(0, 16).replace('T', ' ')} UTC, with libvirt ${report.libvirt} and QEMU ${report.qemu} (emulated`,
    'guests of 256 MiB, dirtying 8 MiB/s), on two libvirt hosts and the embedded AWS, all on one machine.',
    '',
    `**${report.cells.length} cells: the VM ran twice in ${report.doubleRunning}, was lost in ${report.lost}, the record was wrong in ${report.untruthful}, something was left held in ${report.leaks}.**`,
    '',
    '## How to repeat',
    '',
    'As root on Debian 12 or later, after `npm ci`: `npm run lab:faults -- --json` runs every cell (about an hour);',
    '`--only mover,hosts-link --phase committed,finished` runs some, `--repeat 5` each five times. The exit code is 1 when the VM',
    'ran twice, was lost, or a record was wrong. A few cells run with every `npm test` (test/lab/faults.test.ts).',
    '',
    '## How to read it',
    '',
    'Each cell is one migration with one fault. The columns are the moments at which the fault is injected.',
    '',
    ...phases.map((phase) => `- **${phase}**: ${PHASES[phase]}`),
    '',
    'A cell has the status in the record, and where the VM is at the end: **S** runs on the source, **D** runs on the destination,',
    '**p** a paused copy, **-** nowhere (the VM ended with its QEMU). *none*: what the fault was to hit did not exist any',
    'more. SUCCEEDED with D and FAILED with S are both good ends: the VM runs once, and the record says where.',
    'NEEDS_OPERATOR keeps the VM locked and names the reason.',
    '',
    "The test asks libvirt on both hosts for the VM's state ten times a second, over sockets that no fault affects; and the guest writes",
    'ticks to its disk, which both hosts share, and detects when another running copy overwrites them. Either makes a cell **RAN TWICE**.',
    'A record is wrong when its status or `runsOn` differs from what the hosts show. Slots, queue positions, reserved memory, commit records',
    'and the lock must be released (NEEDS_OPERATOR keeps the lock).',
    '',
    '"For good" means until the end of the cell. Recovery waits up to 15 minutes for a host whose evidence it needs. When it reports that it',
    'waits, the fault is reverted after 90 s, and the note says so ("mended"). A killed libvirtd is started again after 4 s, as a service',
    'manager does. A cut drops packets silently, on old and new connections; a host that is cut off from AWS gets no commands either.',
    "Recovery begins 10 s after a mover's last report here (`heartbeatTimeoutSeconds`, 60 by default).",
    '',
    '## The cells',
    '',
    `| | ${phases.join(' | ')} |`,
    `|---|${phases.map(() => '---').join('|')}|`,
    ...grid,
    '',
    ...cutSection(report),
    '## What was not injected',
    '',
    'Power loss of a whole host (its memory and both daemons at once), a full disk, failing storage, clocks that jump, corrupted',
    'packets, a link that is slow rather than down, AWS failing in part (throttling, a lost stream record), Lambda functions that',
    'fail, two faults in one migration, TLS, KVM acceleration, and guests large enough for the copy to take minutes. Executions that',
    'are stopped, events that get lost, AWS out of reach of both hosts, and the way out of NEEDS_OPERATOR have tests of their own',
    '(test/lab/control-plane.test.ts).',
    '',
    '## Each cell',
    '',
    '| fault | phase | status | source | destination | seconds | note |',
    '|---|---|---|---|---|---|---|',
    ...details,
  ].join('\n')}\n`;
}

function summary(cells: readonly Cell[]): string {
  if (cells.length === 0) return '';
  return [...new Set(cells.map(inOneWord))].join('<br>');
}

function inOneWord(cell: Cell): string {
  const found = faultsFound(cell);
  if (found.length > 0) return `**${found.join(', ')}**`;
  const where = [letter(cell.states.source, 'S'), letter(cell.states.destination, 'D')].join('');
  const none = /had ended|had no QEMU|was not reached/.test(cell.note) ? '*none*, ' : '';
  return `${none}${cell.status} ${where === '' ? '-' : where}`;
}

function letter(state: string, running: string): string {
  if (state.startsWith('running')) return running;
  return state.startsWith('paused') ? 'p' : '';
}

function cutSection({ plainVirsh, handoff }: FaultReport): string[] {
  if (plainVirsh === undefined || handoff === undefined) return [];
  const row = ({ how, said, states, doubleRunning, diskErrors }: AfterTheCut) =>
    `| ${how} | ${clean(said)} | ${states.source} | ${states.destination} | ${doubleRunning ? '**yes**' : 'no'} | ${diskErrors} |`;
  return [
    '## The same cut, with plain virsh',
    '',
    'The control connection to the destination is cut when Finish has been carried out and its answer is not yet back.',
    '',
    '| | said | source | destination | ran twice | ticks overwritten |',
    '|---|---|---|---|---|---|',
    row(plainVirsh),
    row(handoff),
    '',
  ];
}

const clean = (text: string): string => text.replaceAll('|', '/').replaceAll('\n', ' ');

const brief = (text: string): string => (text.length > 300 ? `${text.slice(0, 300)} ...` : text);
