import { execFile } from 'node:child_process';
import { open, readdir, readFile, readlink, realpath, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import type { HostFacts, TcpAnswer } from './facts.ts';
import { receiveLinkTest, sendLinkTest } from './link-test.ts';
import { startPing } from './ping.ts';
import { guestResidentBytes } from './resident-memory.ts';

const CONNECT_TIMEOUT_MS = 3_000;

/** The facts of a Linux host, from /proc, /sys and the network itself. */
export const linuxFacts: HostFacts = {
  hostname,
  connectTcp,
  fileSystemType,
  exists,
  list: (directory) => readdir(directory),
  async touch(path) {
    await (await open(path, 'a', 0o600)).close();
  },
  remove: (path) => rm(path, { force: true }),
  async interfaceKind(name) {
    if (await exists(`/sys/class/net/${name}/bridge`)) return 'bridge';
    return (await exists(`/sys/class/net/${name}`)) ? 'other' : 'absent';
  },
  async masterOf(name) {
    try {
      return basename(await readlink(`/sys/class/net/${name}/master`));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  },
  ping: (address) =>
    new Promise((resolve) => {
      execFile('ping', ['-n', '-q', '-c', '1', '-W', '1', address], (error) => resolve(error === null));
    }),
  probe: startPing,
  sendLinkTest,
  receiveLinkTest,
  guestResidentBytes,
};

function connectTcp(host: string, port: number): Promise<TcpAnswer> {
  return new Promise((resolve) => {
    const begin = performance.now();
    const socket = connect({ host, port, timeout: CONNECT_TIMEOUT_MS });
    const end = (answer: TcpAnswer['answer'], error?: string) => {
      socket.destroy();
      resolve({ answer, ms: performance.now() - begin, ...(error !== undefined && { error }) });
    };
    socket.once('connect', () => end('accepted'));
    socket.once('timeout', () => end('none', `no answer within ${CONNECT_TIMEOUT_MS} ms`));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNREFUSED' ? end('refused') : end('none', error.message),
    );
  });
}

/** The type of the innermost mount that holds the path: mountinfo knows NFS, Ceph and FUSE flavours by name, statfs does not. */
async function fileSystemType(path: string): Promise<string | undefined> {
  let real: string;
  try {
    real = await realpath(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  let best = { point: '', type: '' };
  for (const line of (await readFile('/proc/self/mountinfo', 'utf8')).split('\n')) {
    const [before, after] = line.split(' - ');
    const mounted = before?.split(' ')[4];
    if (mounted === undefined || after === undefined) continue;
    // Spaces and the like are written as octal escapes.
    const point = mounted.replace(/\\([0-7]{3})/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 8)),
    );
    const holds = point === '/' || real === point || real.startsWith(`${point}/`);
    // A later mount on the same point hides the earlier one.
    if (holds && point.length >= best.point.length) best = { point, type: after.split(' ')[0] ?? '' };
  }
  return best.type;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'EINVAL';
}
