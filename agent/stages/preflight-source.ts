import { median } from '../../common/statistics.ts';
import type { Measurements } from '../../contract/forecast.ts';
import type { GuestFacts, ResultOf } from '../../contract/reports.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import { type NamedCheck, pass, runChecks, shared } from '../checks/check.ts';
import { localDisks, migratedDisksOf, withoutLocal } from '../checks/disks/local-disks.ts';
import { migratedDiskSourceChecks } from '../checks/disks/migrated-disks.ts';
import { sharedDiskChecks } from '../checks/disks/shared-disks.ts';
import { checkDevices, checkHostsDiffer, checkNoOtherJob, checkRunning } from '../checks/guest.ts';
import { supportsAvailSwitchoverBandwidth } from '../checks/platform.ts';
import { checkReachable, FIRST_MIGRATION_PORT, libvirtEndpoint } from '../checks/reachability.ts';
import { forecast } from '../convergence/forecast.ts';
import { checkPolicy } from '../convergence/policy-check.ts';
import type { AgentDeps } from '../deps.ts';
import { type DomainDescription, parseDomain } from '../domain-xml.ts';
import { LINK_TEST_PORT } from '../host/link-test.ts';
import type { Domain, HypervisorConnection } from '../hypervisor.ts';
import { mustFind, withHypervisor } from '../hypervisor-session.ts';
import { measureDiskWrites } from '../measure/disk-writes.ts';
import { checkLink, LINK_TEST_PATIENCE_MS, type Link, linkOf } from '../measure/link.ts';
import { checkDirtyRate, measureGuest } from '../measure/measure.ts';
import { findAddress } from '../observe/addresses.ts';

/** An odd number, so that the median is a measured value; few, so that a far host costs well under a second. */
const ROUND_TRIPS = 7;

/** The source's checks: the running guest, and the path to the destination. Also measures both, and forecasts the migration. */
export function preflightSource(deps: AgentDeps, task: TaskOf<'preflight'>): Promise<ResultOf<'preflight'>> {
  return withHypervisor(deps, deps.localUri, async (here) => {
    const domain = shared(mustFind(here, task.vm));
    const description = shared(domain.then(async (d) => parseDomain(await d.xml())));
    const guest = await Promise.all([domain, description]).catch(() => undefined);
    const state = shared(domain.then((d) => d.state()));
    const job = shared(domain.then((d) => d.job()));

    // Beside the measurements, since an agent in the guest may take 2 s.
    const address = guest && findAddress(guest[0]);
    const local = guest && task.policy.migrateStorage ? await localDisks(deps, guest[0], guest[1].disks) : [];
    const copies = migratedDisksOf(local);

    const reaching = measureReachability(deps, task);
    // After the round trips, which the link test would lengthen.
    const link = shared(reaching.then((reached) => measureLink(deps, task, reached)));
    // A guest that does not run, or is being migrated already, can't be measured; by these very answers its checks fail.
    const measurable = await Promise.all([state, job]).then(
      ([{ state: now }, running]) => now === 'running' && running === undefined,
      () => false,
    );
    const measuring = guest && measurable ? shared(measureGuest(deps, ...guest, shared(rateOf(link)))) : undefined;

    const diskWrites = guest && copies.length > 0 ? shared(measureDiskWrites(deps, guest[0], copies)) : undefined;

    const reached = await reaching;
    const checks = await runChecks([
      ['domain-exists', async () => pass(`UUID ${(await domain).uuid}`)],
      [
        'domain-running',
        async () => {
          const { state: now, detail } = await state;
          return checkRunning(now, detail);
        },
      ],
      ['no-other-job', async () => checkNoOtherJob(await job)],
      ['devices', async () => checkDevices((await description).hostBound)],
      ['destination-reachable', () => checkReachable(task.destination.address, reached.libvirt, reached.migration)],
      ['hosts-differ', () => compareHosts(deps, task, here)],
      ['link', async () => checkLink(await link)],
      ...(measuring === undefined ? [] : [['dirty-rate', async () => checkDirtyRate(await measuring)] as const]),
      ...(guest === undefined
        ? ([] as NamedCheck[])
        : sharedDiskChecks(deps, 'source', task.migrationId, withoutLocal(guest[1].disks, local))),
      ...migratedDiskSourceChecks(local),
    ]);
    const supported = shared(
      Promise.all([here.versions(), description]).then(([versions, { platform }]) =>
        supportsAvailSwitchoverBandwidth(versions, platform.machine),
      ),
    );
    const seen = measuring && (await measurementsOf(measuring, link, supported, reached.roundTripMs));
    const measured = seen && {
      ...seen,
      ...(diskWrites && { disks: copies, diskWriteBytesPerSecond: await diskWrites }),
    };
    const forecasted = measured && forecast(measured, task.policy);
    const guestAddress = await address;
    return {
      stage: 'preflight',
      checks: forecasted ? [...checks, { name: 'policy', ...checkPolicy(forecasted, task.policy, measured) }] : checks,
      ...(forecasted && { measured, forecast: forecasted }),
      freeMemoryMiB: await here.freeMemoryMiB(),
      ...(guest && { guest: await guestFacts(...guest) }),
      ...(guestAddress && { guestAddress }),
      ...(reached.roundTripMs !== undefined && { roundTripMs: reached.roundTripMs }),
    };
  });
}

async function compareHosts(deps: AgentDeps, task: TaskOf<'preflight'>, here: HypervisorConnection) {
  return withHypervisor(deps, task.destination.libvirtUri, async (there) =>
    checkHostsDiffer(await here.hostUuid(), await there.hostUuid()),
  );
}

/** One connection after the other: simultaneous ones would delay each other. */
async function measureReachability(deps: AgentDeps, { destination }: TaskOf<'preflight'>) {
  const daemon = libvirtEndpoint(destination.libvirtUri);
  const libvirt = daemon && (await deps.facts.connectTcp(daemon.host, daemon.port));
  const migration = await deps.facts.connectTcp(destination.address, FIRST_MIGRATION_PORT);
  const times: number[] = [];
  if (migration.answer !== 'none') {
    for (let i = 0; i < ROUND_TRIPS; i++) {
      times.push((await deps.facts.connectTcp(destination.address, FIRST_MIGRATION_PORT)).ms);
    }
  }
  const roundTripMs = median(times);
  return { libvirt, migration, roundTripMs };
}

type Reachability = Awaited<ReturnType<typeof measureReachability>>;

async function measureLink(
  { facts }: AgentDeps,
  { destination, migrationId, link: known }: TaskOf<'preflight'>,
  { migration }: Reachability,
): Promise<Link | { why: string }> {
  const test = { port: LINK_TEST_PORT, name: migrationId, patienceMs: LINK_TEST_PATIENCE_MS };
  // Without an answer on the migration port, not even a refusal, the test would only wait.
  const reachable = migration.answer !== 'none';
  return linkOf(reachable ? await facts.sendLinkTest(destination.address, test) : { why: 'it does not answer' }, known);
}

const rateOf = (link: Promise<Link | { why: string }>): Promise<number> =>
  link.then((found) => ('why' in found ? 0 : found.linkBytesPerSecond));

/** All measurements, or undefined: a forecast from some of them would be a guess. A missing one has failed its check. */
async function measurementsOf(
  measuring: ReturnType<typeof measureGuest>,
  link: Promise<Link | { why: string }>,
  supported: Promise<boolean>,
  roundTripMs: number | undefined,
): Promise<Measurements | undefined> {
  const [guest, found, availSwitchover] = await Promise.all([measuring, link, supported]).catch(() => []);
  if (guest === undefined || found === undefined || 'why' in found) return undefined;
  return {
    ...guest,
    ...found,
    supportsAvailSwitchoverBandwidth: availSwitchover ?? false,
    roundTripMs: roundTripMs ?? 0,
  };
}

async function guestFacts(domain: Domain, description: DomainDescription): Promise<GuestFacts> {
  return {
    uuid: domain.uuid,
    memoryMiB: description.memoryMiB,
    vcpus: description.vcpus,
    persistent: await domain.persistent(),
    disks: description.disks.map(({ target }) => target),
    networks: description.interfaces.map(({ source, type }) => source ?? type),
  };
}
