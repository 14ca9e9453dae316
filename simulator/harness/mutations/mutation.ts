import type { JsonObject } from '../../../embedded-aws/core/service.ts';
import type { Alterations } from '../../hosts/node.ts';
import type { AwsCall } from '../aws-faults.ts';
import type { FaultSpec } from '../fault-catalog.ts';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

/** What replaces a safety measure in one world. */
export interface Overrides {
  agent?: Partial<Alterations>;
  /** Replaces a call of AWS; undefined leaves the call as it is. */
  call?(call: AwsCall, next: () => Promise<JsonObject>): Promise<JsonObject> | undefined;
}

/** The size of the worlds in which a safety measure matters; see WorldOptions. */
export interface MutatedWorld {
  vms?: number;
  apartMs?: number;
  linkMiBps?: number;
  memoryMiB?: number;
  localDisks?: number;
}

/** A safety measure, switched off from outside. The simulation must notice. */
export interface Mutation {
  name: string;
  /** What happens in place of the measure. */
  off: string;
  /** The faults that the measure is for. */
  catalog: readonly FaultSpec[];
  world?: MutatedWorld;
  /** Called once for each world. */
  overrides(): Overrides;
}
