import type { FaultCase } from './fault-case.ts';
import { FAULTS } from './fault-catalog.ts';
import { PHASES, type Phase } from './phases.ts';
import type { AfterTheCut } from './plain-virsh.ts';

export interface FaultReport {
  /** ISO, of the last case. */
  date: string;
  libvirt: string;
  qemu: string;
  cases: FaultCase[];
  doubleRunning: number;
  lost: number;
  untruthful: number;
  leaks: number;
  plainVirsh?: AfterTheCut;
  /** Handoff with the same cut as `plainVirsh`. */
  handoff?: AfterTheCut;
}

export function reportOf(
  cases: readonly FaultCase[],
  versions: { libvirt: string; qemu: string },
  cut: Pick<FaultReport, 'plainVirsh' | 'handoff'> = {},
): FaultReport {
  const count = (is: (faultCase: FaultCase) => boolean) => cases.filter(is).length;
  return {
    date: new Date().toISOString(),
    libvirt: versions.libvirt,
    qemu: versions.qemu,
    cases: cases.toSorted((a, b) => rank(a) - rank(b)),
    doubleRunning: count((faultCase) => faultCase.doubleRunning),
    lost: count((faultCase) => faultCase.lost),
    untruthful: count((faultCase) => !faultCase.truthful),
    leaks: count((faultCase) => faultCase.leaks.length > 0),
    ...cut,
  };
}

/** By fault, then by phase. */
function rank({ fault, phase }: FaultCase): number {
  return FAULTS.findIndex(({ name }) => name === fault) * 100 + Object.keys(PHASES).indexOf(phase);
}

/** What is wrong with a case; empty when nothing is. */
export function faultsFound({ doubleRunning, lost, truthful, leaks, status }: FaultCase): string[] {
  return [
    ...(doubleRunning ? ['RAN TWICE'] : []),
    ...(lost ? ['LOST'] : []),
    ...(truthful ? [] : ['RECORD WRONG']),
    ...(leaks.length > 0 ? [`LEFT: ${leaks.join(', ')}`] : []),
    ...(status === 'UNFINISHED' ? ['UNFINISHED'] : []),
  ];
}

export function caseLine(faultCase: FaultCase): string {
  const found = faultsFound(faultCase);
  const { fault, phase, status, states, seconds, note } = faultCase;
  const head = `${fault.padEnd(21)} ${phase.padEnd(10)} ${status.padEnd(14)} ${`${seconds} s`.padEnd(8)}`;
  return `${head} ${states.source} / ${states.destination}${found.length > 0 ? ` !! ${found.join(', ')}` : ''}${note === '' ? '' : ` (${note})`}`;
}

/** docs/faults.md, whole. */
export function markdown(report: FaultReport): string {
  const phases = Object.keys(PHASES) as Phase[];
  const grid = FAULTS.map(({ name, what }) => {
    const cases = phases.map((phase) => summary(report.cases.filter((c) => c.fault === name && c.phase === phase)));
    return `| ${what} (\`${name}\`) | ${cases.join(' | ')} |`;
  });
  const details = report.cases.map(
    (faultCase) =>
      `| \`${faultCase.fault}\` | ${faultCase.phase} | ${faultCase.status} | ${faultCase.states.source} | ${faultCase.states.destination} | ${faultCase.seconds} | ${[...faultsFound(faultCase).map((found) => `**${found}**`), brief(clean(faultCase.note))].filter((text) => text !== '').join('; ')} |`,
  );
  return `${[
    '# Faults on real libvirt',
    '',
    `Written by \`npm run lab:faults -- --write-docs\` on ${report.date.slice(0, 16).replace('T', ' ')} UTC, with libvirt ${report.libvirt} and QEMU ${report.qemu} (emulated`,
    'guests of 256 MiB, dirtying 8 MiB/s), on two libvirt hosts and the embedded AWS, all on one machine.',
    '',
    `**${report.cases.length} cases: the VM ran twice in ${report.doubleRunning}, was lost in ${report.lost}, the record was wrong in ${report.untruthful}, something was still held in ${report.leaks}.**`,
    '',
    '## How to repeat',
    '',
    'As root on Debian 12 or later, after `npm ci`: `npm run lab:faults -- --json` runs every case (about an hour);',
    '`--only mover,hosts-link --phase committed,finished` runs some, `--repeat 5` each five times. The exit code is 1 when the VM',
    'ran twice, was lost, or a record was wrong. A few cases run with every `npm test` (test/lab/faults.test.ts).',
    '',
    '## How to read it',
    '',
    'Each case is one migration with one fault. The columns are the phases at which the fault is injected.',
    '',
    ...phases.map((phase) => `- **${phase}**: ${PHASES[phase]}`),
    '',
    'A case has the status in the record, and where the VM is at the end: **S** runs on the source, **D** runs on the destination,',
    '**p** a paused copy, **-** nowhere (the VM ended with its QEMU). *none*: what the fault was to hit did not exist any',
    'more. SUCCEEDED with D and FAILED with S are both good ends: the VM runs once, and the record says where.',
    'NEEDS_OPERATOR keeps the VM locked and names the reason.',
    '',
    "The test asks libvirt on both hosts for the VM's state ten times a second, over sockets that no fault affects; and the guest writes",
    'ticks to its disk, which both hosts share, and detects when another running copy overwrites them. Either makes a case **RAN TWICE**.',
    'A record is wrong when its status or `runsOn` differs from what the hosts show. Slots, queue positions, reserved memory, commit records',
    'and the lock must be released (NEEDS_OPERATOR keeps the lock).',
    '',
    '"Permanently" means until the end of the case. Recovery waits up to 15 minutes for a host whose evidence it needs. When it reports that it',
    'waits, the fault is reverted after 90 s, and the note says so. A killed libvirtd is started again after 4 s, as a service',
    'manager does. A cut drops packets silently, on old and new connections; a host that is cut off from AWS gets no commands either.',
    "Recovery begins 10 s after a mover's last report here (`heartbeatTimeoutSeconds`, 60 by default).",
    '',
    '## The cases',
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
    'are stopped, events that get lost, AWS out of reach of both hosts, and how an operator resolves NEEDS_OPERATOR have tests of their own',
    '(test/lab/control-plane.test.ts).',
    '',
    '## Each case',
    '',
    '| fault | phase | status | source | destination | seconds | note |',
    '|---|---|---|---|---|---|---|',
    ...details,
  ].join('\n')}\n`;
}

function summary(cases: readonly FaultCase[]): string {
  if (cases.length === 0) return '';
  return [...new Set(cases.map(inOneWord))].join('<br>');
}

function inOneWord(faultCase: FaultCase): string {
  const found = faultsFound(faultCase);
  if (found.length > 0) return `**${found.join(', ')}**`;
  const where = [letter(faultCase.states.source, 'S'), letter(faultCase.states.destination, 'D')].join('');
  const none = /had ended|had no QEMU|was not reached/.test(faultCase.note) ? '*none*, ' : '';
  return `${none}${faultCase.status} ${where === '' ? '-' : where}`;
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
