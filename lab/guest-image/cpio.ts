export interface CpioEntry {
  path: string;
  /** File type and permissions, as in `st_mode`. */
  mode: number;
  data?: Buffer;
  device?: { major: number; minor: number };
}

/** An archive in the "newc" format, the one the kernel unpacks as initramfs. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const trailer: CpioEntry = { path: 'TRAILER!!!', mode: 0 };
  return Buffer.concat([...entries, trailer].flatMap((entry, index) => member(entry, index + 1)));
}

function member(entry: CpioEntry, inode: number): Buffer[] {
  const data = entry.data ?? Buffer.alloc(0);
  const name = Buffer.from(`${entry.path}\0`);
  const { major, minor } = entry.device ?? { major: 0, minor: 0 };
  // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name length, checksum (unused)
  const fields = [inode, entry.mode, 0, 0, 1, 0, data.length, 0, 0, major, minor, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return [padded(Buffer.concat([header, name])), padded(data)];
}

/** Both the name and the data end on a multiple of four bytes. */
function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
