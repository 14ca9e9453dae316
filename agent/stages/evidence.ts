import type { Evidence } from '../../contract/facts.ts';
import type { Hypervisor } from '../hypervisor.ts';

/** What libvirt says of one VM now. Rejects when libvirt does not answer: no answer is no evidence. */
export async function evidenceOf(here: Hypervisor, vm: string, mover: Evidence['mover']): Promise<Evidence> {
  const absent: Evidence = { state: 'absent', detail: 'no such domain', jobActive: false, mover };
  const domain = await here.find(vm);
  if (domain === undefined) return absent;
  try {
    const { state, detail } = await domain.state();
    return { state, detail, jobActive: state !== 'absent' && (await domain.job()) !== undefined, mover };
  } catch (error) {
    // It may have gone between two questions.
    if ((await here.find(vm)) === undefined) return absent;
    throw error;
  }
}
