/**
 * The version of what control plane and agents say to each other. Every order and report carries it; an agent rejects an
 * order of another version and says so, because half understanding a task is worse than refusing it.
 */
export const CONTRACT_VERSION = 2;
