import type { Interface } from '../domain-xml.ts';
import { fail, pass, type Verdict } from './check.ts';

export type InterfaceKind = 'bridge' | 'other' | 'absent';

/** What an interface of the guest requires on the destination. `name` is part of the check's name. */
export type NetworkRequirement =
  | { kind: 'bridge' | 'interface' | 'network'; name: string }
  | { kind: 'nothing'; name: string; found: string }
  | { kind: 'refused'; name: string; verdict: Verdict };

export function requirementOf(nic: Interface): NetworkRequirement {
  const name = nic.source ?? nic.type;
  switch (nic.type) {
    case 'bridge':
      return { kind: 'bridge', name };
    case 'network':
      return { kind: 'network', name };
    case 'direct':
      return { kind: 'interface', name };
    case 'user':
      return {
        kind: 'nothing',
        name,
        found: 'user-mode networking needs nothing of the host; its connections do not survive',
      };
    default:
      return {
        kind: 'refused',
        name,
        verdict: fail(
          `interfaces of type "${nic.type}" are not supported`,
          'use an interface on a bridge or a libvirt network',
        ),
      };
  }
}

export function checkBridge(name: string, kind: InterfaceKind): Verdict {
  if (kind === 'bridge') return pass(`bridge ${name} exists`);
  return kind === 'other'
    ? fail(`${name} exists here but is not a bridge`, `make a bridge ${name} on this host`)
    : fail(
        `there is no bridge ${name} here`,
        `make a bridge ${name} on this host, in the same network as the source's`,
      );
}

export function checkInterface(name: string, kind: InterfaceKind): Verdict {
  return kind === 'absent'
    ? fail(`there is no interface ${name} here`, `choose a host with an interface ${name} in the same network`)
    : pass(`interface ${name} exists`);
}

export function checkNetwork(name: string, active: boolean): Verdict {
  return active
    ? pass(`libvirt network ${name} is active`)
    : fail(`there is no active libvirt network ${name} here`, `define and start it: \`virsh net-start ${name}\``);
}

/** After the migration: the guest's tap must be on its bridge. */
export function checkEnslaved(bridge: string, tap: string | undefined, master: string | undefined): Verdict {
  if (tap === undefined) return fail('the interface has no tap on this host', `attach it to ${bridge} again`);
  return master === bridge
    ? pass(`${tap} is on ${bridge}`)
    : fail(`${tap} is on ${master ?? 'no bridge'}`, `\`ip link set ${tap} master ${bridge}\``);
}
