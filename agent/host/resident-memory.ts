import { readFile } from 'node:fs/promises';

/** Where libvirt's QEMU driver keeps the process id of each running domain. */
const PID_FILES = '/run/libvirt/qemu';
const GIB = 1024 ** 3;
/** In a larger guest QEMU's own memory is no matter, and a walk through its page tables is. */
const MOST_BYTES = 16 * GIB;

/**
 * How much of a guest's memory is backed by the host, in bytes: that of the one mapping which is as large as the guest's memory. The
 * size of the whole process would count QEMU's own, which for a small emulated guest is a third of it.
 *
 * undefined where it can't be told so: more than one memory block, a large guest, no such process.
 */
export async function guestResidentBytes(vm: string, memoryBytes: number): Promise<number | undefined> {
  if (memoryBytes > MOST_BYTES) return undefined;
  try {
    const pid = Number(await readFile(`${PID_FILES}/${vm}.pid`, 'utf8'));
    return residentOf(await readFile(`/proc/${pid}/smaps`, 'utf8'), memoryBytes);
  } catch {
    return undefined;
  }
}

/** From /proc/PID/smaps. Huge pages of hugetlbfs are counted apart from the resident set. */
export function residentOf(smaps: string, memoryBytes: number): number | undefined {
  const memory = smaps
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    .filter((mapping) => kibibytes(mapping, 'Size') * 1_024 === memoryBytes);
  if (memory.length !== 1) return undefined;
  const fields = ['Rss', 'Shared_Hugetlb', 'Private_Hugetlb'];
  return fields.reduce((sum, field) => sum + kibibytes(memory[0]!, field), 0) * 1_024;
}

const kibibytes = (mapping: string, field: string): number =>
  Number(new RegExp(`^${field}: +(\\d+) kB$`, 'm').exec(mapping)?.[1] ?? 0);
