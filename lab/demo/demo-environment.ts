import type { Access, ApiClient } from '../../cli/api-client.ts';

/** The hosts of a demo: real ones in the lab, or simulated ones where the machine cannot run a lab. */
export interface DemoEnvironment {
  hypervisor: 'libvirt' | 'simulated';
  api: ApiClient;
  access: Access;
  vm: string;
  from: string;
  to: string;
  guestAddress: string | undefined;
  /** Starts measuring the guest from outside. */
  observe(): Promise<{ stop(): Promise<Observation> }>;
  /** Commands to try while everything keeps running, a line each. */
  hints: string[];
  close(): Promise<void>;
}

/** What clients outside the guest measured during the migration. A field is absent where nothing could be measured. */
export interface Observation {
  /** The longest time without an answer to a ping, in ms. */
  blackoutMs?: number;
  /** The longest silence on the one TCP connection, in ms. */
  tcpLongestGapMs?: number;
  tcpIntact?: boolean;
  bytesLost?: number;
  /** Whether the guest's own checks of its memory and disk found no error. */
  guestIntact?: boolean;
}
