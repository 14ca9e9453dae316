import type { Role } from '../../../contract/names.ts';
import type { AgentDeps } from '../../deps.ts';
import type { Disk, DiskSource } from '../../domain-xml.ts';
import { eventually } from '../../eventually.ts';
import { fail, type NamedCheck, pass, type Verdict } from '../check.ts';
import { isNetworkFileSystem, refuseLocalFileSystem } from './file-systems.ts';
import { proofFor } from './proof.ts';

/** Both preflights run at the same time; SSM starts the later one within a few seconds. */
const RENDEZVOUS = { everyMs: 200, limitMs: 30_000 };

/**
 * One check for each disk that both hosts must have. The two preflights prove a shared directory to each other: the source creates a
 * file beside the image, the destination removes it, and each waits for the other's act. No file is left behind in either case.
 *
 * Both list the directory instead of opening the file by name: an NFS client caches for up to a minute that a name was missing, but
 * fetches the contents of a directory anew when the directory is opened.
 */
export function sharedDiskChecks(
  deps: Pick<AgentDeps, 'clock' | 'facts'>,
  role: Role,
  migrationId: string,
  disks: readonly Disk[],
): NamedCheck[] {
  const probe = `.handoff-${migrationId}`;
  const rendezvous = new Map<string, Promise<boolean>>();

  const createAndAwaitRemoval = async (directory: string): Promise<boolean> => {
    const file = `${directory}/${probe}`;
    await deps.facts.touch(file);
    try {
      return await eventually(deps, RENDEZVOUS, async () => !(await deps.facts.list(directory)).includes(probe));
    } finally {
      await deps.facts.remove(file);
    }
  };
  const awaitAndRemove = async (directory: string): Promise<boolean> => {
    const seen = await eventually(deps, RENDEZVOUS, async () => (await deps.facts.list(directory)).includes(probe));
    if (seen) await deps.facts.remove(`${directory}/${probe}`);
    return seen;
  };
  /** Several images may lie in one directory; it is proven once. */
  const proveShared = (directory: string): Promise<boolean> => {
    const proven =
      rendezvous.get(directory) ?? (role === 'source' ? createAndAwaitRemoval(directory) : awaitAndRemove(directory));
    rendezvous.set(directory, proven);
    return proven;
  };

  const checkSource = async (source: DiskSource): Promise<Verdict> => {
    const proof = proofFor(source);
    switch (proof.kind) {
      case 'refused':
        return proof.verdict;
      case 'same-name':
        return (await deps.facts.exists(proof.path))
          ? pass(`${proof.path} exists`)
          : fail(`there is no ${proof.path} here`, 'make the block device visible to this host (zoning, iSCSI login)');
      case 'server-answers':
        return serverAnswers(deps, proof.protocol, proof.servers);
      case 'shared-directory': {
        const type = await deps.facts.fileSystemType(proof.directory);
        if (type === undefined || !isNetworkFileSystem(type)) return refuseLocalFileSystem(proof.directory, type);
        return (await proveShared(proof.directory))
          ? pass(`${proof.directory} (${type}) is the same directory on both hosts`)
          : fail(
              `${proof.directory} (${type}) did not show the other host's probe file within ${RENDEZVOUS.limitMs / 1000} s`,
              'mount the same share at the same path on both hosts',
            );
      }
    }
  };

  return disks.map(
    (disk): NamedCheck => [
      `disk:${disk.target}`,
      async () => combine(await Promise.all(disk.sources.map(checkSource))),
    ],
  );
}

/** A disk passes when its image and all backing images pass. */
function combine(verdicts: readonly Verdict[]): Verdict {
  const failed = verdicts.find((verdict) => !verdict.passed);
  return failed ?? pass(verdicts.map(({ found }) => found).join('; ') || 'no media');
}

/** One server that answers is enough: the others of a cluster are found through it. */
async function serverAnswers(
  { facts }: Pick<AgentDeps, 'facts'>,
  protocol: string,
  servers: readonly { host: string; port: number }[],
): Promise<Verdict> {
  const answers = await Promise.all(
    servers.map(async ({ host, port }) => ({
      server: `${host}:${port}`,
      ...(await facts.connectTcp(host, port)),
    })),
  );
  const good = answers.find(({ answer }) => answer === 'accepted');
  if (good !== undefined) return pass(`${protocol} server ${good.server} answers`);
  const found = answers.map(({ server, answer, error }) => `${server}: ${answer === 'refused' ? 'refused' : error}`);
  return fail(`no ${protocol} server answers (${found.join(', ')})`, 'let this host reach the storage server');
}
