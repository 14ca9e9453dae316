/**
 * Asks one address again and again whether it is there. ICMP echo, sent by iputils' `ping`, which every distribution installs:
 * Node has no raw sockets, and arping, which needs no address in the guest's network, is on few hosts and asks once a second at
 * best. A host that has no way to the guest's network therefore sees nothing, and says so.
 */
export interface Probe {
  /** When the first and the newest answer came, in ms since the epoch. */
  readonly firstAnswerAt: number | undefined;
  readonly lastAnswerAt: number | undefined;
  /** Calls `heard` after each answer from now on, or after several that come together. Returns what ends that. */
  onAnswer(heard: () => void): () => void;
  /** Ends it. Never rejects. */
  stop(): Promise<Sightings>;
}

/** What a probe has seen. */
export interface Sightings {
  /** When each answer came, in ms since the epoch, duplicates left out. */
  answers: readonly number[];
  sent: number;
  /** Why it could not ask, in its own words. */
  trouble?: string;
}

/** Time between two questions. Twice that is the shortest blackout that can be told from none. */
export const PROBE_INTERVAL_MS = 10;
/** A probe ends by itself then, whatever became of the process that started it. As many questions as ICMP has numbers for. */
export const PROBE_LIMIT_MS = 65_535 * PROBE_INTERVAL_MS;
