import type { ResultOf } from '../../contract/reports.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import { type NamedCheck, pass, runChecks, shared, type Verdict } from '../checks/check.ts';
import { localDisks, withoutLocal } from '../checks/disks/local-disks.ts';
import { migratedDiskDestinationChecks } from '../checks/disks/migrated-disks.ts';
import { sharedDiskChecks } from '../checks/disks/shared-disks.ts';
import { checkNotHereYet } from '../checks/guest.ts';
import { checkBridge, checkInterface, checkNetwork, requirementOf } from '../checks/networks.ts';
import { checkCpu, checkMemory, checkVersions } from '../checks/platform.ts';
import { checkReachable, libvirtEndpoint } from '../checks/reachability.ts';
import type { AgentDeps } from '../deps.ts';
import { type DomainDescription, hostModelCpu, type Interface, parseDomain } from '../domain-xml.ts';
import { LINK_TEST_PORT } from '../host/link-test.ts';
import type { HypervisorConnection } from '../hypervisor.ts';
import { connectHypervisor, mustFind, withHypervisor } from '../hypervisor-session.ts';
import { LINK_TEST_PATIENCE_MS } from '../measure/link.ts';

/** The destination's checks: whether the guest, as the source describes it, can run here. */
export function preflightDestination(deps: AgentDeps, task: TaskOf<'preflight'>): Promise<ResultOf<'preflight'>> {
  return withHypervisor(deps, deps.localUri, async (here) => {
    const source = shared(connectHypervisor(deps, task.source.libvirtUri));
    const linkTested = deps.facts.receiveLinkTest({
      port: LINK_TEST_PORT,
      name: task.migrationId,
      patienceMs: LINK_TEST_PATIENCE_MS,
    });
    try {
      const result = await checkGuest(deps, task, here, source);
      await linkTested;
      return result;
    } finally {
      await source.then((connection) => connection.close()).catch(() => {});
    }
  });
}

async function checkGuest(
  deps: AgentDeps,
  task: TaskOf<'preflight'>,
  here: HypervisorConnection,
  source: Promise<HypervisorConnection>,
): Promise<ResultOf<'preflight'>> {
  const guest = shared(
    source.then(async (connection) => {
      const domain = await mustFind(connection, task.vm);
      // As it is sent: the CPU spelt out in full, withoutLocal what only the running guest has.
      return parseDomain(await domain.xml({ migratable: true }));
    }),
  );
  const capabilities = shared(guest.then(({ platform }) => here.domainCapabilities(platform)));
  const freeMemoryMiB = await here.freeMemoryMiB();
  const known = await guest.catch(() => undefined);
  const local = known && task.policy.migrateStorage ? await localDisksOf(deps, await source, known) : [];

  const checks = await runChecks([
    ['source-reachable', () => sourceReachable(deps, task)],
    ['versions', async () => checkVersions(await (await source).versions(), await here.versions())],
    [
      'emulator',
      async () => {
        const { emulator, virtType } = (await guest).platform;
        await capabilities;
        return pass(`${emulator} runs ${virtType} guests here`);
      },
    ],
    [
      'machine-type',
      async () => {
        const { machine, arch } = (await guest).platform;
        await capabilities;
        return pass(`${machine} (${arch}) is known here`);
      },
    ],
    ['cpu', async () => compareCpu(await source, here, await guest)],
    ['memory', async () => checkMemory(freeMemoryMiB, task.reservedMiB, (await guest).memoryMiB)],
    ['no-such-domain-yet', async () => notHereYet(here, task.vm, known)],
    ...(known === undefined ? ([] as NamedCheck[]) : networkChecks(deps, here, known.interfaces)),
    ...(known === undefined
      ? ([] as NamedCheck[])
      : sharedDiskChecks(deps, 'destination', task.migrationId, withoutLocal(known.disks, local))),
    ...migratedDiskDestinationChecks(deps, local),
  ]);
  return { stage: 'preflight', checks, freeMemoryMiB };
}

async function localDisksOf(deps: AgentDeps, source: HypervisorConnection, { name, disks }: DomainDescription) {
  return localDisks(deps, await mustFind(source, name), disks);
}

async function sourceReachable(deps: AgentDeps, { source }: TaskOf<'preflight'>): Promise<Verdict> {
  const daemon = libvirtEndpoint(source.libvirtUri);
  const libvirt = daemon && (await deps.facts.connectTcp(daemon.host, daemon.port));
  return checkReachable(source.address, libvirt, undefined);
}

async function notHereYet(
  here: HypervisorConnection,
  vm: string,
  guest: DomainDescription | undefined,
): Promise<Verdict> {
  const copies = (await here.list()).filter(({ name, uuid }) => name === vm || uuid === guest?.uuid);
  return checkNotHereYet(copies);
}

async function compareCpu(
  source: HypervisorConnection,
  here: HypervisorConnection,
  guest: DomainDescription,
): Promise<Verdict> {
  if (guest.cpu === undefined) return pass("the guest has the machine type's default CPU");
  const { mode } = guest.cpu;
  if (mode !== 'host-passthrough' && mode !== 'maximum') {
    return checkCpu(mode, await here.compareCpu(guest.platform, guest.cpu.xml));
  }
  // Such a CPU has no model to compare: the guest has the source host's own CPU.
  const hostCpu = hostModelCpu(await source.domainCapabilities(guest.platform));
  if (hostCpu === undefined) throw new Error(`the source's libvirt does not say what its CPU is, which ${mode} needs`);
  return checkCpu('host-passthrough', await here.compareCpu(guest.platform, hostCpu));
}

function networkChecks(deps: AgentDeps, here: HypervisorConnection, interfaces: readonly Interface[]): NamedCheck[] {
  const checks = new Map<string, NamedCheck>();
  for (const nic of interfaces) {
    const need = requirementOf(nic);
    const name = `network:${need.name}`;
    checks.set(name, [
      name,
      async () => {
        switch (need.kind) {
          case 'bridge':
            return checkBridge(need.name, await deps.facts.interfaceKind(need.name));
          case 'interface':
            return checkInterface(need.name, await deps.facts.interfaceKind(need.name));
          case 'network':
            return checkNetwork(need.name, await here.networkActive(need.name));
          case 'nothing':
            return pass(need.found);
          case 'refused':
            return need.verdict;
        }
      },
    ]);
  }
  return [...checks.values()];
}
