import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { Command, InvalidArgumentError } from 'commander';
import { connectLibvirt } from '../../agent/libvirt/connect.ts';
import manifest from '../../package.json' with { type: 'json' };
import { installLab } from '../hosts/install.ts';
import { downLab, upLab } from '../hosts/lab.ts';
import { libvirtSocketOf } from '../hosts/plan.ts';
import { type ManagedLab, startManagedLab } from '../managed-lab.ts';
import { type FaultCase, runFaultCase } from './fault-case.ts';
import { FAULTS } from './fault-catalog.ts';
import { FaultTestbed } from './fault-testbed.ts';
import { PHASES, type Phase } from './phases.ts';
import { sameCut } from './plain-virsh.ts';
import { caseLine, type FaultReport, markdown, reportOf } from './report.ts';

const DOCS = new URL('../../docs/faults.md', import.meta.url);
const ALL_FAULTS = FAULTS.map(({ name }) => name);
const ALL_PHASES = Object.keys(PHASES) as Phase[];

const oneOf =
  <T extends string>(known: readonly T[]) =>
  (text: string): T[] => {
    const names = text.split(',') as T[];
    const unknown = names.find((name) => !known.includes(name));
    if (unknown !== undefined) throw new InvalidArgumentError(`"${unknown}" is none of ${known.join(', ')}.`);
    return names;
  };
const positive = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('must be a whole number, 1 or more.');
  return value;
};

interface Options {
  only: string[];
  phase: Phase[];
  repeat: number;
  results?: string;
  cut: boolean;
  json?: true;
  writeDocs?: true;
}

const options = new Command('lab-faults')
  .version(manifest.version)
  .description(
    'Injects faults into migrations in the lab, each at each phase of the handover, and reports what happened to the VM.',
  )
  .option('--only <faults>', `of ${ALL_FAULTS.join(', ')}`, oneOf(ALL_FAULTS), ALL_FAULTS)
  .option('--phase <phases>', `of ${ALL_PHASES.join(', ')}`, oneOf(ALL_PHASES), ALL_PHASES)
  .option('--repeat <n>', 'runs of each case', positive, 1)
  .option(
    '--results <file>',
    'keep the cases in this file, run only those it lacks, and report on all in it: for a matrix run in parts',
  )
  .option('--no-cut', 'leave out the comparison with plain virsh')
  .option('--json', 'end with the report as one JSON object on the last line')
  .option('--write-docs', 'write docs/faults.md')
  .parse()
  .opts<Options>();

type Line = { faultCase: FaultCase } | Pick<FaultReport, 'plainVirsh' | 'handoff'> | { libvirt: string; qemu: string };

const say = (line: string): void => console.error(line);
const lines: Line[] = [];
const note = (line: Line): void => {
  lines.push(line);
  if (options.results !== undefined) appendFileSync(options.results, `${JSON.stringify(line)}\n`);
};

if (options.results !== undefined && existsSync(options.results)) {
  const text = readFileSync(options.results, 'utf8').trim();
  if (text !== '') lines.push(...text.split('\n').map((line) => JSON.parse(line) as Line));
}
const known = (fault: string, phase: Phase) =>
  lines.filter((line) => 'faultCase' in line && line.faultCase.fault === fault && line.faultCase.phase === phase)
    .length;
const due = FAULTS.filter(({ name }) => options.only.includes(name)).flatMap((fault) =>
  ALL_PHASES.filter((phase) => options.phase.includes(phase)).flatMap((phase) =>
    Array.from({ length: Math.max(0, options.repeat - known(fault.name, phase)) }, () => ({ fault, phase })),
  ),
);
const cutIsDue = options.cut && !lines.some((line) => 'plainVirsh' in line);
if (due.length > 0 || cutIsDue) await runInLab();

async function runInLab(): Promise<void> {
  await installLab(say);
  const lab = await upLab();
  let managed: ManagedLab | undefined;
  try {
    managed = await startManagedLab(lab);
    const testbed = await FaultTestbed.on(managed);
    note(await versionsOf(testbed));
    for (const { fault, phase } of due) {
      const faultCase = await runFaultCase(testbed, fault, phase);
      say(caseLine(faultCase));
      note({ faultCase });
    }
    if (cutIsDue) note(await sameCut(testbed));
    await testbed.stop();
  } finally {
    await managed?.stop();
    await downLab(lab.name);
  }
}

const all = Object.assign({}, ...lines) as FaultReport;
const cases = lines.flatMap((line) => ('faultCase' in line ? [line.faultCase] : []));
const report = reportOf(cases, all, {
  ...(all.plainVirsh && { plainVirsh: all.plainVirsh }),
  ...(all.handoff && { handoff: all.handoff }),
});
if (options.writeDocs) {
  await mkdir(new URL('.', DOCS), { recursive: true });
  await writeFile(DOCS, markdown(report));
}
console.log(
  `${cases.length} cases: ran twice ${report.doubleRunning}, lost ${report.lost}, record wrong ${report.untruthful}, left held ${report.leaks}`,
);
if (options.json) console.log(JSON.stringify(report));
process.exitCode = report.doubleRunning + report.lost + report.untruthful > 0 ? 1 : 0;

async function versionsOf({ lab }: FaultTestbed): Promise<{ libvirt: string; qemu: string }> {
  const connection = await connectLibvirt(`qemu+unix:///system?socket=${libvirtSocketOf(lab, 'kvm1')}`);
  const { libvirt, qemu } = await connection.versions();
  await connection.close();
  const words = (version: number) =>
    [Math.floor(version / 1_000_000), Math.floor(version / 1_000) % 1_000, version % 1_000].join('.');
  return { libvirt: words(libvirt), qemu: words(qemu) };
}
