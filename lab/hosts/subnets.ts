/**
 * Which lab of this machine has which subnet. A claim is a file, named after the subnet; claims are read and written under one lock,
 * so that two labs which come up at the same moment cannot choose the same subnet or name.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../command.ts';
import { withLock } from './lock.ts';
import { type LabOptions, type LabPlan, labFile, planLab } from './plan.ts';

const FOLDER = '/run/handoff-lab-claims';
const LOCK = 'lock';
const UNFINISHED = 'unfinished';
/** 10.77.0 to 10.77.255. */
const NETWORK = '10.77';
const NUMBERS = Array.from({ length: 256 }, (_, number) => number);

interface Claim {
  subnet: string;
  name: string;
  /** The process that brought the lab up. */
  owner: Process;
  /** Whether the lab outlives its owner. */
  kept: boolean;
}

/** A process id is used again after its process has ended; with the start time it is not. */
interface Process {
  pid: number;
  /** In clock ticks since the machine's boot. */
  startedAt: number;
}

/** Ends a lab by its name, however much of it is there. */
type Remove = (name: string) => Promise<void>;

/**
 * Claims a subnet and a name, after `remove` has ended what is left of labs that nobody needs any more: an earlier lab of the same
 * name, and labs whose process has ended without taking them down. Without a subnet in `options`, the first free one is taken;
 * without a name, the name follows from the subnet. Rejects when the subnet or the name belongs to another lab that is in use.
 */
export function claimLab({ name, subnet, hosts }: LabOptions, remove: Remove): Promise<LabPlan> {
  const size = hosts === undefined ? {} : { hosts };
  // An invalid option is refused before anything is touched.
  planLab({ name: name ?? nameOf(0), subnet: subnet ?? subnetOf(0), ...size });
  return locked(async () => {
    for (const claim of claims().filter(isStale)) await release(claim, remove);
    if (name !== undefined) await replace(name, remove);
    const wanted = await freeSubnet(name, subnet);
    const plan = planLab({ ...wanted, ...size });
    const claim = { ...wanted, owner: thisProcess(), kept: name !== undefined } satisfies Claim;
    await write(claim);
    return plan;
  });
}

/** Ends a lab with `remove` and gives its subnet back. Does nothing for a lab that is not there. */
export function releaseLab(name: string, remove: Remove): Promise<void> {
  return locked(async () => {
    await remove(name);
    for (const claim of claims().filter((each) => each.name === name)) await rm(fileOf(claim), { force: true });
  });
}

const locked = <T>(use: () => Promise<T>): Promise<T> => withLock(join(FOLDER, LOCK), use);

async function release(claim: Claim, remove: Remove): Promise<void> {
  await remove(claim.name);
  await rm(fileOf(claim), { force: true });
}

/** Ends an earlier lab of this name, claimed or not; not one that is another process's while that process needs it. */
async function replace(name: string, remove: Remove): Promise<void> {
  const claim = claims().find((each) => each.name === name);
  if (claim !== undefined && !claim.kept) throw new Error(`lab "${name}" belongs to process ${claim.owner.pid}`);
  await (claim === undefined ? remove(name) : release(claim, remove));
}

async function freeSubnet(
  name: string | undefined,
  subnet: string | undefined,
): Promise<Pick<Claim, 'subnet' | 'name'>> {
  const taken = claims();
  const interfaces = await interfacesBySubnet();
  const isTaken = (each: string) => interfaces.has(each) || taken.some((claim) => claim.subnet === each);
  if (subnet !== undefined) {
    const by = interfaces.get(subnet) ?? taken.find((claim) => claim.subnet === subnet)?.name;
    if (by !== undefined) throw new Error(`${subnet}.0/24 is in use by ${by}: choose another subnet`);
    return { subnet, name: name ?? firstFreeName(taken) };
  }
  const number = NUMBERS.find((each) => !isTaken(subnetOf(each)));
  if (number === undefined) throw new Error(`every /24 network of ${NETWORK}.0.0/16 is in use`);
  const own = nameOf(number);
  return {
    subnet: subnetOf(number),
    name: name ?? (taken.some((claim) => claim.name === own) ? firstFreeName(taken) : own),
  };
}

const subnetOf = (number: number): string => `${NETWORK}.${number}`;
const nameOf = (number: number): string => `lab${number}`;
const firstFreeName = (taken: readonly Claim[]): string =>
  nameOf(NUMBERS.find((number) => !taken.some(({ name }) => name === nameOf(number)))!);

/** The machine's interfaces by the first three numbers of their IPv4 addresses. */
async function interfacesBySubnet(): Promise<Map<string, string>> {
  const interfaces = JSON.parse(await run(['ip', '-4', '-json', 'address', 'show'])) as {
    ifname: string;
    addr_info: { local?: string }[];
  }[];
  return new Map(
    interfaces.flatMap(({ ifname, addr_info }) =>
      addr_info.flatMap(({ local }) => (local === undefined ? [] : [[local.replace(/\.\d+$/, ''), ifname] as const])),
    ),
  );
}

function claims(): Claim[] {
  return readdirSync(FOLDER)
    .filter((file) => file !== LOCK && file !== UNFINISHED)
    .map((file) => JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as Claim);
}

/** Whole or not at all: a process that is killed while it writes must not leave a claim that nobody can read. */
async function write(claim: Claim): Promise<void> {
  const unfinished = join(FOLDER, UNFINISHED);
  await writeFile(unfinished, JSON.stringify(claim));
  await rename(unfinished, fileOf(claim));
}

const fileOf = ({ subnet }: Pick<Claim, 'subnet'>): string => join(FOLDER, subnet);

/** Its process has ended; a lab that outlives its process is stale only when it never came up whole. */
function isStale({ name, subnet, owner, kept }: Claim): boolean {
  if (startOf(owner.pid) === owner.startedAt) return false;
  return !kept || !existsSync(labFile(planLab({ name, subnet })));
}

const thisProcess = (): Process => ({ pid: process.pid, startedAt: startOf(process.pid)! });

/** When the process with this id started; undefined when there is none. */
function startOf(pid: number): number | undefined {
  try {
    // The second field, the program's name, may contain anything; what follows its last parenthesis is the third field.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return Number(fields[22 - 3]);
  } catch {
    return undefined;
  }
}
