import type { Json } from '../../core/service.ts';
import { StateFailure } from './failures.ts';

/** The quota on every state's, task's and execution's input and output, in bytes of UTF-8. */
export const MAX_PAYLOAD_BYTES = 262_144;

/** A JSON value with its text, which history and quota both need: it is made once for each step. */
export interface Payload {
  readonly value: Json;
  readonly text: string;
}

/** Throws States.DataLimitExceeded when the value is over the quota; `what` names it in the cause. */
export function payloadOf(value: Json, what: string): Payload {
  return checkedPayload({ value, text: JSON.stringify(value) }, what);
}

export function checkedPayload(payload: Payload, what: string): Payload {
  if (Buffer.byteLength(payload.text) > MAX_PAYLOAD_BYTES) {
    throw new StateFailure(
      'States.DataLimitExceeded',
      `${what} has a size exceeding the maximum number of bytes service limit (${MAX_PAYLOAD_BYTES}).`,
    );
  }
  return payload;
}
