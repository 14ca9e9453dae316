import { XMLBuilder, XMLParser } from 'fast-xml-parser';
import type { GuestPlatform } from './hypervisor.ts';

/** The parts of a domain XML that the checks need. */
export interface DomainDescription {
  name: string;
  uuid: string;
  memoryMiB: number;
  vcpus: number;
  platform: GuestPlatform;
  /** The `<cpu>` element; absent when the guest has the machine type's default CPU. */
  cpu: { mode: string; xml: string } | undefined;
  disks: Disk[];
  interfaces: Interface[];
  /** Devices that are bound to this host, each described by its element in the XML. */
  hostBound: string[];
}

export interface Disk {
  target: string;
  /** The image and its backing images; empty for a drive without media. */
  sources: DiskSource[];
  /** Of the image: raw, qcow2, ...; absent when the XML does not say. */
  format: string | undefined;
  readonly: boolean;
  encrypted: boolean;
}

export type DiskSource =
  | { kind: 'file'; path: string }
  | { kind: 'block'; path: string }
  | { kind: 'network'; protocol: string; name: string; hosts: { name: string; port: number | undefined }[] }
  | { kind: 'unsupported'; what: string };

export interface Interface {
  /** libvirt's interface type: bridge, network, direct, ... */
  type: string;
  /** The bridge, the libvirt network or the host's interface that it is connected to. */
  source: string | undefined;
  /** The bridge in use, also that of a libvirt network (running guests only). */
  bridge: string | undefined;
  /** The tap on this host (running guests only). */
  tap: string | undefined;
  /** In lower case, with colons. */
  mac: string | undefined;
}

const ATTRIBUTE = '@';
const syntax = { ignoreAttributes: false, attributeNamePrefix: ATTRIBUTE } as const;
const parser = new XMLParser({ ...syntax, parseTagValue: false, parseAttributeValue: false });
const builder = new XMLBuilder({ ...syntax, suppressEmptyNode: true, suppressBooleanAttributes: false });

/** Throws when the text is not a domain's XML. */
export function parseDomain(xml: string): DomainDescription {
  const domain = Element.root(parser.parse(xml), 'domain');
  const devices = domain.child('devices');
  const os = domain.child('os').child('type');
  const cpu = domain.children('cpu')[0];
  return {
    name: domain.text('name'),
    uuid: domain.text('uuid'),
    memoryMiB: inMiB(domain.child('memory')),
    vcpus: Number(domain.child('vcpu').value || '1'),
    platform: {
      emulator: devices.text('emulator'),
      arch: os.attribute('arch') ?? '',
      machine: os.attribute('machine') ?? '',
      virtType: domain.attribute('type') ?? '',
    },
    cpu: cpu && { mode: cpu.attribute('mode') ?? 'custom', xml: builder.build({ cpu: cpu.raw }) },
    disks: devices.children('disk').map((disk) => ({
      target: disk.child('target').attribute('dev') ?? '?',
      sources: sourcesOf(disk),
      format: disk.child('driver').attribute('type'),
      readonly: disk.children('readonly').length > 0,
      encrypted: [disk, disk.child('source')].some((part) => part.children('encryption').length > 0),
    })),
    interfaces: devices.children('interface').map(toInterface),
    hostBound: hostBound(devices),
  };
}

/** The CPU that libvirt's `host-model` stands for, as `<cpu>` XML, read from a host's domain capabilities. */
export function hostModelCpu(capabilitiesXml: string): string | undefined {
  const cpu = Element.root(parser.parse(capabilitiesXml), 'domainCapabilities').child('cpu');
  const mode = cpu.children('mode').find((m) => m.attribute('name') === 'host-model');
  if (mode === undefined || mode.attribute('supported') !== 'yes') return undefined;
  const parts = (name: string) => mode.children(name).map((part) => part.raw);
  return builder.build({
    cpu: { [`${ATTRIBUTE}mode`]: 'custom', model: parts('model'), vendor: parts('vendor'), feature: parts('feature') },
  });
}

/** A small reader over the parser's output, in which a missing element reads as an empty one. */
class Element {
  readonly raw: unknown;

  constructor(raw: unknown) {
    this.raw = raw;
  }

  static root(parsed: unknown, name: string): Element {
    const root = new Element(parsed).children(name)[0];
    if (root === undefined) throw new Error(`not a <${name}> document`);
    return root;
  }

  children(name: string): Element[] {
    const found = this.#fields()[name];
    if (found === undefined) return [];
    return (Array.isArray(found) ? found : [found]).map((raw) => new Element(raw));
  }

  child(name: string): Element {
    return this.children(name)[0] ?? new Element(undefined);
  }

  attribute(name: string): string | undefined {
    const value = this.#fields()[ATTRIBUTE + name];
    return value === undefined ? undefined : String(value);
  }

  get value(): string {
    return typeof this.raw === 'string' ? this.raw : String(this.#fields()['#text'] ?? '');
  }

  /** The text of a child that must be there. */
  text(name: string): string {
    const value = this.child(name).value;
    if (value === '') throw new Error(`the domain XML has no <${name}>`);
    return value;
  }

  #fields(): Record<string, unknown> {
    return typeof this.raw === 'object' && this.raw !== null ? (this.raw as Record<string, unknown>) : {};
  }
}

const KIB_PER_UNIT: Record<string, number> = {
  b: 1 / 1024,
  KiB: 1,
  k: 1,
  MiB: 1024,
  M: 1024,
  GiB: 1024 ** 2,
  G: 1024 ** 2,
};

function inMiB(memory: Element): number {
  const unit = memory.attribute('unit') ?? 'KiB';
  const scale = KIB_PER_UNIT[unit];
  if (scale === undefined) throw new Error(`the domain XML gives its memory in "${unit}", which is not known here`);
  return (Number(memory.value) * scale) / 1024;
}

function sourcesOf(layer: Element): DiskSource[] {
  const source = layer.children('source')[0];
  const type = layer.attribute('type') ?? 'file';
  const own = source === undefined ? [] : [toSource(type, source)];
  const backing = layer.child('backingStore');
  return backing.attribute('type') === undefined ? own : [...own, ...sourcesOf(backing)];
}

function toSource(type: string, source: Element): DiskSource {
  const path = source.attribute(type === 'block' ? 'dev' : 'file');
  if ((type === 'file' || type === 'block') && path !== undefined) return { kind: type, path };
  if (type !== 'network') return { kind: 'unsupported', what: `a disk of type "${type}"` };
  const hosts = source.children('host');
  const local = hosts.find((host) => (host.attribute('transport') ?? 'tcp') !== 'tcp');
  if (local !== undefined) return { kind: 'unsupported', what: `a disk served over ${local.attribute('transport')}` };
  return {
    kind: 'network',
    protocol: source.attribute('protocol') ?? '?',
    name: source.attribute('name') ?? '',
    hosts: hosts.map((host) => {
      const port = host.attribute('port');
      return { name: host.attribute('name') ?? '', port: port === undefined ? undefined : Number(port) };
    }),
  };
}

function toInterface(element: Element): Interface {
  const type = element.attribute('type') ?? '?';
  const source = element.child('source');
  const bridge = source.attribute('bridge');
  return {
    type,
    source: type === 'bridge' ? bridge : type === 'network' ? source.attribute('network') : source.attribute('dev'),
    bridge,
    tap: element.child('target').attribute('dev'),
    mac: element.child('mac').attribute('address')?.toLowerCase(),
  };
}

/**
 * Devices whose state or backing is on this host. libvirt refuses some of them only once the copy runs, and others never, so that the guest
 * arrives with a device that does not work.
 */
function hostBound(devices: Element): string[] {
  const found: string[] = [];
  for (const device of devices.children('hostdev')) {
    const type = device.attribute('type') ?? device.attribute('mode') ?? '?';
    found.push(type === 'mdev' ? 'hostdev mdev (mediated device)' : `hostdev ${type} (passed through from the host)`);
  }
  for (const nic of devices.children('interface')) {
    const type = nic.attribute('type');
    if (type === 'hostdev' || type === 'vdpa') found.push(`interface ${type} (a function of the host's network card)`);
  }
  for (const fs of devices.children('filesystem')) {
    const driver = fs.child('driver').attribute('type') === 'virtiofs' ? 'virtiofs' : '9p';
    found.push(`filesystem ${driver} (a directory of the host)`);
  }
  for (const memory of devices.children('shmem')) found.push(`shmem ${memory.attribute('name') ?? ''}`.trimEnd());
  for (const memory of devices.children('memory')) {
    const model = memory.attribute('model') ?? 'dimm';
    if (model !== 'dimm' && !model.startsWith('virtio-mem')) found.push(`memory ${model} (backed by the host)`);
  }
  for (const tpm of devices.children('tpm')) {
    const backend = tpm.child('backend').attribute('type');
    if (backend === 'passthrough' || backend === 'external') found.push(`tpm ${backend} (its state stays on the host)`);
  }
  for (const redirected of devices.children('redirdev')) {
    if (redirected.attribute('type') !== 'spicevmc')
      found.push(`redirdev ${redirected.attribute('bus') ?? ''}`.trimEnd());
  }
  for (const name of ['smartcard', 'serial', 'parallel', 'console', 'channel'] as const) {
    for (const device of devices.children(name)) {
      const type = device.attribute('type') ?? device.attribute('mode');
      if (type === 'dev' || type === 'host') found.push(`${name} ${type} (a device of the host)`);
    }
  }
  return found;
}
