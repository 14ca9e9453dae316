import { readFile } from 'node:fs/promises';

/** Where libvirt's QEMU driver keeps the process id of each running domain. */
const PID_FILES = '/run/libvirt/qemu';
const GIB = 1024 ** 3;
/** In a larger guest QEMU's own memory does not matter, but a walk through the page tables takes long. */
const MOST_BYTES = 16 * GIB;

/**
 * The part of a guest's memory that the host backs, in bytes: the resident size of the one mapping that is as large as the guest's memory.
 * The size of the whole process would include QEMU's own memory, a third of the process of a small emulated guest.
 *
 * undefined when it cannot be determined: several memory blocks, a large guest, no such process.
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

/** From /proc/PID/smaps, where huge pages of hugetlbfs are not part of Rss. */
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
