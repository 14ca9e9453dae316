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

/** An odd number, so that the median is a measured value; few, so that a far host costs well under a second. */
const ROUND_TRIPS = 7;

/** What only the source can say: the guest as it is, and the way to the destination. */
export function preflightSource(deps: AgentDeps, task: TaskOf<'preflight'>): Promise<ResultOf<'preflight'>> {
  return withHypervisor(deps, deps.localUri, async (here) => {
    const domain = shared(mustFind(here, task.vm));
    const description = shared(domain.then(async (d) => parseDomain(await d.xml())));
    const guest = await Promise.all([domain, description]).catch(() => undefined);
    const state = shared(domain.then((d) => d.state()));
    const job = shared(domain.then((d) => d.job()));

    const local = guest && task.policy.migrateStorage ? await localDisks(deps, guest[0], guest[1].disks) : [];
    const copies = migratedDisksOf(local);

    const looking = lookAtTheWay(deps, task);
    // After the round trips, which it would stretch.
    const link = shared(looking.then((way) => lookAtTheLink(deps, task, way)));
    // A guest that does not run, or is being migrated already, can't be measured; by these very answers its checks fail.
    const measurable = await Promise.all([state, job]).then(
      ([{ state: now }, running]) => now === 'running' && running === undefined,
      () => false,
    );
    const measuring = guest && measurable ? shared(measureGuest(deps, ...guest, shared(rateOf(link)))) : undefined;

    const writing = guest && copies.length > 0 ? shared(measureDiskWrites(deps, guest[0], copies)) : undefined;

    const way = await looking;
    const looked = await runChecks([
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
      ['destination-reachable', () => checkReachable(task.destination.address, way.libvirt, way.migration)],
      ['hosts-differ', () => compareHosts(deps, task, here)],
      ['link', async () => checkLink(await link)],
      ...(measuring === undefined ? [] : [['dirty-rate', async () => checkDirtyRate(await measuring)] as const]),
      ...(guest === undefined
        ? ([] as NamedCheck[])
        : sharedDiskChecks(deps, 'source', task.migrationId, withoutLocal(guest[1].disks, local))),
      ...migratedDiskSourceChecks(local),
    ]);
    const takes = shared(
      Promise.all([here.versions(), description]).then(([versions, { platform }]) =>
        supportsAvailSwitchoverBandwidth(versions, platform.machine),
      ),
    );
    const seen = measuring && (await measurementsOf(measuring, link, takes, way.roundTripMs));
    const measured = seen && {
      ...seen,
      ...(writing && { disks: copies, diskWriteBytesPerSecond: await writing }),
    };
    const forecasted = measured && forecast(measured, task.policy);
    return {
      stage: 'preflight',
      checks: forecasted ? [...looked, { name: 'policy', ...checkPolicy(forecasted, task.policy, measured) }] : looked,
      ...(forecasted && { measured, forecast: forecasted }),
      freeMemoryMiB: await here.freeMemoryMiB(),
      ...(guest && { guest: await guestFacts(...guest) }),
      ...(way.roundTripMs !== undefined && { roundTripMs: way.roundTripMs }),
    };
  });
}

async function compareHosts(deps: AgentDeps, task: TaskOf<'preflight'>, here: HypervisorConnection) {
  return withHypervisor(deps, task.destination.libvirtUri, async (there) =>
    checkHostsDiffer(await here.hostUuid(), await there.hostUuid()),
  );
}

/** One after the other: connects side by side would measure each other. */
async function lookAtTheWay(deps: AgentDeps, { destination }: TaskOf<'preflight'>) {
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

type Way = Awaited<ReturnType<typeof lookAtTheWay>>;

async function lookAtTheLink(
  { facts }: AgentDeps,
  { destination, migrationId, link: known }: TaskOf<'preflight'>,
  { migration }: Way,
): Promise<Link | { why: string }> {
  const test = { port: LINK_TEST_PORT, name: migrationId, patienceMs: LINK_TEST_PATIENCE_MS };
  // Where not even a refusal comes through there is nothing to wait for.
  const reachable = migration.answer !== 'none';
  return linkOf(reachable ? await facts.sendLinkTest(destination.address, test) : { why: 'it does not answer' }, known);
}

const rateOf = (link: Promise<Link | { why: string }>): Promise<number> =>
  link.then((found) => ('why' in found ? 0 : found.linkBytesPerSecond));

/** Everything, or nothing: a forecast from half of it would be a guess. What is missing has failed its check. */
async function measurementsOf(
  measuring: ReturnType<typeof measureGuest>,
  link: Promise<Link | { why: string }>,
  takes: Promise<boolean>,
  roundTripMs: number | undefined,
): Promise<Measurements | undefined> {
  const [guest, found, takesRate] = await Promise.all([measuring, link, takes]).catch(() => []);
  if (guest === undefined || found === undefined || 'why' in found) return undefined;
  return { ...guest, ...found, supportsAvailSwitchoverBandwidth: takesRate ?? false, roundTripMs: roundTripMs ?? 0 };
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
