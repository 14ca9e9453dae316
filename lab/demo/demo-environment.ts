import type { Access, ApiClient } from '../../cli/api-client.ts';

/** Where a demo takes place: real hosts in the lab, or simulated ones where the machine cannot have a lab. */
export interface DemoEnvironment {
  hypervisor: 'libvirt' | 'simulated';
  api: ApiClient;
  access: Access;
  vm: string;
  from: string;
  to: string;
  guestAddress: string | undefined;
  /** Starts looking at the guest from outside. */
  observe(): Promise<{ stop(): Promise<Observation> }>;
  /** What can be looked at while all is kept running: a line each. */
  hints: string[];
  close(): Promise<void>;
}

/** What somebody outside saw of the guest while it moved. Absent where nobody could look. */
export interface Observation {
  /** The longest time without an answer to a ping, in ms. */
  blackoutMs?: number;
  /** The longest time the one TCP connection was silent, in ms. */
  tcpLongestGapMs?: number;
  tcpIntact?: boolean;
  bytesLost?: number;
  /** Whether the guest found its memory and disk as it left them. */
  guestIntact?: boolean;
}
