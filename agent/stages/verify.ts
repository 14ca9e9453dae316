import type { MigratedDisk } from '../../contract/migrated-storage.ts';
import type { ResultOf } from '../../contract/reports.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import { fail, type NamedCheck, pass, runChecks, shared, type Verdict } from '../checks/check.ts';
import { checkEnslaved } from '../checks/networks.ts';
import type { AgentDeps } from '../deps.ts';
import { type DomainDescription, parseDomain } from '../domain-xml.ts';
import { eventually } from '../eventually.ts';
import type { Domain } from '../hypervisor.ts';
import { mustFind, withHypervisor } from '../hypervisor-session.ts';
import { keepImages } from '../migrated-storage/images.ts';

/** The vCPUs of an idle guest may use less CPU time than the kernel's ticks of 10 ms show, so the check repeats. */
const ADVANCE = { everyMs: 200, limitMs: 5_000 };
/** The mover removes the source's copy 1-2 s after the guest runs on the destination. */
const GONE = { everyMs: 500, limitMs: 30_000 };
const PINGS = 5;

export function verify(deps: AgentDeps, task: TaskOf<'verify'>): Promise<ResultOf<'verify'>> {
  return task.role === 'source' ? verifySource(deps, task) : verifyDestination(deps, task);
}

function verifySource(deps: AgentDeps, task: TaskOf<'verify'>): Promise<ResultOf<'verify'>> {
  return withHypervisor(deps, deps.localUri, async (here) => {
    const gone = async (): Promise<Verdict> => {
      if (await eventually(deps, GONE, async () => (await here.find(task.vm)) === undefined)) {
        return pass('the source has no copy any more');
      }
      const copy = await here.find(task.vm);
      if (copy === undefined) return pass('the source has no copy any more');
      const { detail } = await copy.state();
      return fail(
        `the source still has a copy: ${detail}`,
        `once the VM is seen running on the destination: \`virsh destroy\`, \`virsh undefine\``,
      );
    };
    return { stage: 'verify', checks: await runChecks([['gone', gone]]) };
  });
}

function verifyDestination(deps: AgentDeps, task: TaskOf<'verify'>): Promise<ResultOf<'verify'>> {
  return withHypervisor(deps, deps.localUri, async (here) => {
    const domain = shared(mustFind(here, task.vm));
    const description = shared(domain.then(async (d) => parseDomain(await d.xml())));
    const known = await description.catch(() => undefined);
    const { guestAddress } = task;
    const checks: NamedCheck[] = [
      ['running', async () => running(await domain)],
      ['vcpu-advancing', async () => advancing(deps, await domain)],
      ['disks', async () => disks(await domain, await description)],
      ...(known === undefined ? [] : networks(deps, known)),
    ];
    if (guestAddress !== undefined) checks.push(['reachable', () => reachable(deps, guestAddress)]);
    const done = await runChecks(checks);
    // Only when all checks passed: until then recovery may have to remove the images.
    const images: NamedCheck[] =
      task.disks === undefined || done.some(({ passed }) => !passed)
        ? []
        : [['images', () => keepTheImages(deps, task.migrationId, task.disks!)]];
    return { stage: 'verify', checks: [...done, ...(await runChecks(images))] };
  });
}

async function keepTheImages(
  { images }: AgentDeps,
  migrationId: string,
  disks: readonly MigratedDisk[],
): Promise<Verdict> {
  await keepImages(images, migrationId, disks);
  return pass(`the VM keeps the images made here: ${disks.map(({ path }) => path).join(', ')}`);
}

async function running(domain: Domain): Promise<Verdict> {
  const { state, detail } = await domain.state();
  return state === 'running' ? pass(detail) : fail(`the VM is ${detail}`, 'see why with `virsh domstate --reason`');
}

async function advancing(deps: AgentDeps, domain: Domain): Promise<Verdict> {
  const before = await domain.cpuTimeNs();
  let after = before;
  await deps.clock.sleep(ADVANCE.everyMs);
  const advanced = await eventually(deps, ADVANCE, async () => {
    after = await domain.cpuTimeNs();
    return after > before;
  });
  return advanced
    ? pass(`vCPU time went up by ${(after - before) / 1_000_000n} ms`)
    : fail(`vCPU time stood still for ${ADVANCE.limitMs / 1000} s`, "look at the guest's console: it may hang");
}

async function disks(domain: Domain, { disks: expected }: DomainDescription): Promise<Verdict> {
  const [open, errors] = await Promise.all([domain.disks(), domain.diskErrors()]);
  const missing = expected.map(({ target }) => target).filter((target) => !open.includes(target));
  if (missing.length > 0) return fail(`not open in QEMU: ${missing.join(', ')}`, 'attach the missing disks again');
  if (errors.length > 0)
    return fail(`I/O errors on ${errors.join(', ')}`, 'see to the storage; the guest pauses or sees errors');
  return pass(open.length === 0 ? 'the VM has no disks' : `open without errors: ${open.join(', ')}`);
}

/** Interfaces on a bridge, also through a libvirt network; others have no tap that could be on the wrong bridge. */
function networks(deps: AgentDeps, { interfaces }: DomainDescription): NamedCheck[] {
  const checks = new Map<string, NamedCheck>();
  for (const { bridge, tap } of interfaces) {
    if (bridge === undefined) continue;
    const name = checks.has(`network:${bridge}`) ? `network:${bridge}:${tap}` : `network:${bridge}`;
    const decide = async () =>
      checkEnslaved(bridge, tap, tap === undefined ? undefined : await deps.facts.masterOf(tap));
    checks.set(name, [name, decide]);
  }
  return [...checks.values()];
}

async function reachable(deps: AgentDeps, address: string): Promise<Verdict> {
  for (let attempt = 0; attempt < PINGS; attempt++) {
    if (await deps.facts.ping(address)) return pass(`${address} answers ICMP echo from this host`);
  }
  return fail(
    `${address} does not answer ICMP echo from this host`,
    'see whether the guest answers elsewhere; its network may still send its traffic to the source',
  );
}
