/** What must hold in every simulated world: while it runs, and when it has come to rest. The texts are stable names. */
export const INVARIANTS = [
  'a VM never runs on two hosts',
  'no VM is lost',
  'the destination runs a VM only after the commit',
  'a commit record is decided once',
  'the first outcome is final',
  'the record names the host that runs the VM',
  'every migration ends',
  'every VM runs',
  'no copy of a VM is left over',
  'an operator learns of every VM in halves',
  'an operator is asked only when nothing else can decide',
  'recovery never sees impossible evidence',
  'a fenced mover does nothing more',
  'a task runs once',
  'an expired task does not start',
  'a lock stays with its owner',
  'slots never exceed the limits of a host',
  'memory of a host is not promised twice',
  'an ended migration holds nothing',
  'every pending cleanup is carried out',
  'a host in maintenance is empty',
  'no disk is lost',
  'a VM runs on the newest version of its disk',
  'no image of a running VM is removed',
  'no image is left over',
  'no libvirt daemon crashes',
  'calls of AWS are valid',
] as const;

export type Invariant = (typeof INVARIANTS)[number];

/** An invariant that did not hold, and what was seen. */
export interface Violation {
  invariant: Invariant;
  detail: string;
}
