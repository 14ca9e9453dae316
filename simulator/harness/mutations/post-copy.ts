import { libvirtError } from '../../hypervisor/errors.ts';
import type { FaultSpec } from '../fault-catalog.ts';
import { halfCountsAsWhole, overridden, postCopyBeforeCommit, withDomains } from './agent-overrides.ts';
import { MINUTE, type Mutation } from './mutation.ts';

const POST_COPY_BREAKS: FaultSpec = { kind: 'postcopy-broken', points: { 'daemon:finish': 1, 'daemon:rest': 3 } };

/** A VM in halves is neither run twice nor taken for whole. */
export const POST_COPY_MUTATIONS: readonly Mutation[] = [
  {
    name: 'post-copy-commit',
    off: 'a post-copy begins before its commit',
    // Between the source and AWS.
    catalog: [{ kind: 'partition', points: { 'mover:commit': 1 }, ms: [5_000, MINUTE], moment: 'before', choice: 0.5 }],
    overrides: () => ({
      agent: { connection: withDomains(postCopyBeforeCommit) },
    }),
  },
  {
    name: 'post-copy-halves',
    off: 'a half of a VM that runs counts as the whole VM',
    catalog: [POST_COPY_BREAKS, { kind: 'mover-killed', points: { 'daemon:rest': 3 } }],
    overrides: () => ({
      agent: { connection: withDomains(halfCountsAsWhole) },
    }),
  },
  {
    name: 'post-copy-resume',
    off: 'a post-copy that broke is not resumed',
    catalog: [POST_COPY_BREAKS],
    overrides: () => ({
      agent: {
        connection: (connection) =>
          overridden(connection, {
            prepare: async (options) => {
              if (options.resume === true) throw libvirtError('refused by the mutation');
              return connection.prepare(options);
            },
          }),
      },
    }),
  },
  {
    name: 'post-copy-version',
    off: 'a post-copy is resumed on a libvirt that crashes from it',
    catalog: [POST_COPY_BREAKS],
    overrides: () => ({
      agent: {
        connection: (connection) =>
          overridden(connection, { versions: async () => ({ ...(await connection.versions()), libvirt: 99_000_000 }) }),
      },
    }),
  },
];
