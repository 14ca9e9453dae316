/**
 * Sends ICMP echo requests to one address at an interval. iputils' `ping` sends them: every distribution installs it, Node has no raw
 * sockets, and arping, which would need no address in the guest's network, is installed on few hosts and sends once a second at
 * most. A host without a route to the guest's network therefore gets no answer, and reports that.
 */
export interface Probe {
  /** The times of the first and of the newest answer, in ms since the epoch. */
  readonly firstAnswerAt: number | undefined;
  readonly lastAnswerAt: number | undefined;
  /** Calls `heard` after each further answer, or once after several that arrive together. Returns the function that unsubscribes. */
  onAnswer(heard: () => void): () => void;
  /** Ends the probe. Never rejects. */
  stop(): Promise<ProbeResult>;
}

/** The answers to a probe. */
export interface ProbeResult {
  /** The time of each answer, in ms since the epoch, without duplicates. */
  answers: readonly number[];
  sent: number;
  /** The last error message of `ping`, or the last ICMP error. */
  trouble?: string;
}

/** The time between two requests. Twice that is the shortest blackout that can be measured. */
export const PROBE_INTERVAL_MS = 10;
/** A probe ends by itself after this time, even when the process that started it is gone. ICMP has that many sequence numbers. */
export const PROBE_LIMIT_MS = 65_535 * PROBE_INTERVAL_MS;
