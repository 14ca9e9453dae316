import type { Role } from '../../contract/names.ts';
import { fail, type NamedCheck, pass, type Verdict } from '../checks/check.ts';
import { isNetworkFileSystem, proofFor, refuseLocalFileSystem } from '../checks/disks.ts';
import type { AgentDeps } from '../deps.ts';
import type { Disk, DiskSource } from '../domain-xml.ts';
import { eventually } from './stage.ts';

/** Both preflights run at the same time; SSM needs a few seconds at most to start the later one. */
const RENDEZVOUS = { everyMs: 200, limitMs: 30_000 };

/**
 * One check for each disk. The two preflights prove a shared directory to each other: the source puts a file beside the
 * image, the destination takes it away, and each waits for the other's act. Nothing is left behind either way.
 *
 * Both look by listing the directory, never by name: NFS remembers for up to a minute that a name was missing, while
 * opening a directory fetches its contents anew.
 */
export function diskChecks(deps: AgentDeps, role: Role, migrationId: string, disks: readonly Disk[]): NamedCheck[] {
  const probe = `.handoff-${migrationId}`;
  const rendezvous = new Map<string, Promise<boolean>>();

  const offer = async (directory: string): Promise<boolean> => {
    const file = `${directory}/${probe}`;
    await deps.facts.touch(file);
    try {
      return await eventually(deps, RENDEZVOUS, async () => !(await deps.facts.list(directory)).includes(probe));
    } finally {
      await deps.facts.remove(file);
    }
  };
  const take = async (directory: string): Promise<boolean> => {
    const seen = await eventually(deps, RENDEZVOUS, async () => (await deps.facts.list(directory)).includes(probe));
    if (seen) await deps.facts.remove(`${directory}/${probe}`);
    return seen;
  };
  /** Several images may lie in one directory; it is proven once. */
  const meet = (directory: string): Promise<boolean> => {
    const met = rendezvous.get(directory) ?? (role === 'source' ? offer(directory) : take(directory));
    rendezvous.set(directory, met);
    return met;
  };

  const look = async (source: DiskSource): Promise<Verdict> => {
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
        return (await meet(proof.directory))
          ? pass(`${proof.directory} (${type}) is the same directory on both hosts`)
          : fail(
              `${proof.directory} (${type}) did not show the other host's probe file within ${RENDEZVOUS.limitMs / 1000} s`,
              'mount the same share at the same path on both hosts',
            );
      }
    }
  };

  return disks.map(
    (disk): NamedCheck => [`disk:${disk.target}`, async () => combine(await Promise.all(disk.sources.map(look)))],
  );
}

/** A disk is as good as the worst of its images. */
function combine(verdicts: readonly Verdict[]): Verdict {
  const failed = verdicts.find((verdict) => !verdict.passed);
  return failed ?? pass(verdicts.map(({ found }) => found).join('; ') || 'no media');
}

/** One server that answers is enough: the others of a cluster are found through it. */
async function serverAnswers(
  deps: AgentDeps,
  protocol: string,
  servers: readonly { host: string; port: number }[],
): Promise<Verdict> {
  const answers = await Promise.all(
    servers.map(async ({ host, port }) => ({
      server: `${host}:${port}`,
      ...(await deps.facts.connectTcp(host, port)),
    })),
  );
  const good = answers.find(({ answer }) => answer === 'accepted');
  if (good !== undefined) return pass(`${protocol} server ${good.server} answers`);
  const found = answers.map(({ server, answer, error }) => `${server}: ${answer === 'refused' ? 'refused' : error}`);
  return fail(`no ${protocol} server answers (${found.join(', ')})`, 'let this host reach the storage server');
}
