import type { JobStats } from '../../agent/hypervisor.ts';
import type { CopyState } from '../../contract/facts.ts';
import type { CopyJob, Load } from './copy-job.ts';
import { type ImageFile, LOCAL_IMAGES } from './images.ts';

/** SIMULATED: a VM. */
export interface Guest extends Load {
  name: string;
  uuid: string;
  vcpus: number;
  persistent: boolean;
  /** Where it answers ICMP echo. */
  address?: string;
  /** The network does not learn of its moves by itself: after each it answers only once it is announced again. */
  unannounced?: boolean;
  /** A disk that only its host has. */
  disk?: LocalDisk;
}

/** SIMULATED: a disk in an image of one host alone. */
export interface LocalDisk {
  allocatedMiB: number;
  /** Its newest state: a running guest writes all the time. */
  newest: number;
}

export const imageOf = ({ name }: Pick<Guest, 'name'>): string => `${LOCAL_IMAGES}/${name}.qcow2`;

/** SIMULATED: one host's domain: the VM itself, or a copy of it that a migration receives or has left. */
export interface Copy {
  guest: Guest;
  state: Exclude<CopyState, 'absent'>;
  detail: string;
  outgoing?: CopyJob;
  /** Whether Perform has returned. */
  performed?: boolean;
  /** Whether Confirm is under way. */
  confirming?: boolean;
  /** An incoming copy dies with the connection that prepared it. */
  preparedBy?: object;
  /** What its QEMU has open of a local disk, whatever becomes of the name it was opened by. */
  image?: ImageFile;
  /** Breaks the stream that an incoming copy receives. */
  stream?: () => void;
  /** The post-copy that it is a half of, or was. */
  postCopy?: PostCopyJob;
  lastJob?: JobStats;
  /** The dirty rate calculation that runs, or ran last. */
  dirtyRateCalc?: { seconds: number; endsAt: number };
  /** It came here by a migration and the network does not know. */
  unheard?: boolean;
  runningSince: number;
}

/** SIMULATED: a post-copy as each of its two halves knows it (post-copy.ts). */
export interface PostCopyJob {
  /** Whether its stream is broken. */
  readonly broken: boolean;
  /** Whether all memory has come. */
  readonly whole: boolean;
  /** On the destination: runs its half, and answers when the VM is whole. */
  finish(): Promise<void>;
  /** On the source: its client is gone. */
  leave(): void;
  /** On the source: answers when the VM is whole, and the source's half may go. */
  confirmed(): Promise<void>;
  break(): void;
  /** Both halves are there and the stream is broken: the rest is sent. */
  resume(): void;
}
