import type { LinkResult, LinkTest } from './link-test.ts';
import type { Probe } from './probe.ts';

/** What a stage asks of the machine that it runs on, beside libvirt. */
export interface HostFacts {
  hostname(): string;
  /** One TCP handshake. A refusal proves that the host is there, as an acceptance does; silence proves nothing. */
  connectTcp(host: string, port: number): Promise<TcpAnswer>;
  /** The type of the file system a path lies on, as the kernel names it (`nfs4`, `ext4`), or undefined without such a path. */
  fileSystemType(path: string): Promise<string | undefined>;
  exists(path: string): Promise<boolean>;
  /** The names in a directory. */
  list(directory: string): Promise<string[]>;
  /** Makes an empty file; a file of that name may be there already. */
  touch(path: string): Promise<void>;
  /** No error when there is no such file. */
  remove(path: string): Promise<void>;
  /** A Linux bridge, any other network interface, or none of that name. */
  interfaceKind(name: string): Promise<'bridge' | 'other' | 'absent'>;
  /** The bridge an interface is enslaved to. */
  masterOf(name: string): Promise<string | undefined>;
  /** Whether an address answers one ICMP echo within a second. */
  ping(address: string): Promise<boolean>;
  /** Starts to send ICMP echo requests to an address at an interval; returns at once. */
  probe(address: string): Probe;
  /** The bandwidth to a host whose agent receives the test at the same time. Neither rejects. */
  sendLinkTest(host: string, test: LinkTest): Promise<LinkResult>;
  receiveLinkTest(test: LinkTest): Promise<void>;
  /** The part of a guest's memory that this host backs, in bytes; undefined when it cannot be told from QEMU's own memory. */
  guestResidentBytes(vm: string, memoryBytes: number): Promise<number | undefined>;
}

export interface TcpAnswer {
  answer: 'accepted' | 'refused' | 'none';
  ms: number;
  /** Why there was no answer. */
  error?: string;
}
