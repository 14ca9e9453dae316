import type { OrderOf } from '../../contract/orders.ts';
import type { GuestFacts, ResultOf } from '../../contract/reports.ts';
import { type NamedCheck, pass, runChecks, shared } from '../checks/check.ts';
import { checkDevices, checkHostsDiffer, checkNoOtherJob, checkRunning } from '../checks/guest.ts';
import { checkReachable, FIRST_MIGRATION_PORT, libvirtEndpoint, median } from '../checks/reachability.ts';
import type { AgentDeps } from '../deps.ts';
import { type DomainDescription, parseDomain } from '../domain-xml.ts';
import type { Domain, MigrationTarget } from '../hypervisor.ts';
import { diskChecks } from './disk-checks.ts';
import { mustFind, withHypervisor } from './stage.ts';

/** An odd number, so that the median is a measured value; few, so that a far host costs well under a second. */
const ROUND_TRIPS = 7;

/** What only the source can say: the guest as it is, and the way to the destination. */
export function preflightSource(deps: AgentDeps, order: OrderOf<'preflight'>): Promise<ResultOf<'preflight'>> {
  return withHypervisor(deps, deps.localUri, async (here) => {
    const domain = shared(mustFind(here, order.vm));
    const description = shared(domain.then(async (d) => parseDomain(await d.xml())));
    const guest = await Promise.all([domain, description]).catch(() => undefined);

    const way = await lookAtTheWay(deps, order);
    const checks = await runChecks([
      ['domain-exists', async () => pass(`UUID ${(await domain).uuid}`)],
      [
        'domain-running',
        async () => {
          const { state, detail } = await (await domain).state();
          return checkRunning(state, detail);
        },
      ],
      ['no-other-job', async () => checkNoOtherJob(await (await domain).job())],
      ['devices', async () => checkDevices((await description).hostBound)],
      ['destination-reachable', () => checkReachable(order.destination.address, way.libvirt, way.migration)],
      ['hosts-differ', () => compareHosts(deps, order, here)],
      ...(guest === undefined ? ([] as NamedCheck[]) : diskChecks(deps, 'source', order.migrationId, guest[1].disks)),
    ]);
    return {
      stage: 'preflight',
      checks,
      freeMemoryMiB: await here.freeMemoryMiB(),
      ...(guest && { guest: await guestFacts(...guest) }),
      ...(way.roundTripMs !== undefined && { roundTripMs: way.roundTripMs }),
    };
  });
}

async function compareHosts(deps: AgentDeps, order: OrderOf<'preflight'>, here: MigrationTarget) {
  return withHypervisor(deps, order.destination.libvirtUri, async (there) =>
    checkHostsDiffer(await here.hostUuid(), await there.hostUuid()),
  );
}

/** One after the other: connects side by side would measure each other. */
async function lookAtTheWay(deps: AgentDeps, { destination }: OrderOf<'preflight'>) {
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
