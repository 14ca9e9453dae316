/**
 * The version of the contract between control plane and agents. Every task and report carries it. An agent refuses a task of another
 * version, because carrying out a half-understood task is worse than refusing it.
 */
export const CONTRACT_VERSION = 2;
