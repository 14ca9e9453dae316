/** Where a libvirt URI leads: the socket to open, and the name under which the daemon there opens its driver. */
export interface LibvirtAddress {
  transport: { kind: 'unix'; paths: readonly string[] } | { kind: 'tcp'; host: string; port: number };
  /** The URI without its transport, as the daemon wants it in CONNECT_OPEN. */
  driver: string;
}

/** libvirtd's own socket, then that of the modular daemon for QEMU; the task in which libvirt looks for them. */
const DEFAULT_SOCKETS = ['/run/libvirt/libvirt-sock', '/run/libvirt/virtqemud-sock'] as const;
const DEFAULT_TCP_PORT = 16_509;

/** Why transports that libvirt knows are refused. */
const UNSUPPORTED: Record<string, string> = {
  tls: 'TLS is not supported yet; use qemu+tcp on a trusted migration network',
  ssh: 'ssh is not supported; use qemu+tcp on a trusted migration network',
  libssh: 'ssh is not supported; use qemu+tcp on a trusted migration network',
  libssh2: 'ssh is not supported; use qemu+tcp on a trusted migration network',
  ext: 'the transport "ext" is not supported; use qemu+unix or qemu+tcp',
};

/**
 * Reads `qemu:///system`, `qemu+unix:///system?socket=/path` and `qemu+tcp://host[:port]/system`.
 *
 * @throws {TypeError} naming what is wrong and what would be right.
 */
export function parseLibvirtUri(uri: string): LibvirtAddress {
  const refuse = (why: string) => new TypeError(`libvirt URI "${uri}": ${why}`);
  if (!URL.canParse(uri)) throw refuse('not a URI, such as "qemu:///system" or "qemu+tcp://10.0.0.2/system"');
  const url = new URL(uri);
  const [driver, transportName] = url.protocol.slice(0, -1).split('+', 2);
  if (driver !== 'qemu') throw refuse('only the driver "qemu" is supported');
  if (url.pathname !== '/system') throw refuse('only the path "/system" is supported');
  if (url.username !== '' || url.password !== '') throw refuse('a user has no meaning here');
  // As in libvirt, a host without a transport means TLS.
  const transport = transportName ?? (url.hostname === '' ? 'unix' : 'tls');
  const unsupported = UNSUPPORTED[transport];
  if (unsupported !== undefined) throw refuse(unsupported);
  for (const name of url.searchParams.keys()) {
    if (name !== 'socket' || transport !== 'unix') throw refuse(`the parameter "${name}" is not supported`);
  }

  if (transport === 'unix') {
    if (url.hostname !== '') throw refuse('a unix socket has no host; write "qemu+unix:///system"');
    const socket = url.searchParams.get('socket');
    if (socket === '') throw refuse('the parameter "socket" must be a path');
    return {
      driver: 'qemu:///system',
      transport: { kind: 'unix', paths: socket === null ? DEFAULT_SOCKETS : [socket] },
    };
  }
  if (transport === 'tcp') {
    if (url.hostname === '') throw refuse('a host is missing; write "qemu+tcp://host/system"');
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const port = url.port === '' ? DEFAULT_TCP_PORT : Number(url.port);
    return { driver: 'qemu:///system', transport: { kind: 'tcp', host, port } };
  }
  throw refuse(`the transport "${transport}" is unknown; use qemu+unix or qemu+tcp`);
}
