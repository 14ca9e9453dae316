import type { CopyState } from '../../contract/facts.ts';
import type { JobStats } from '../hypervisor.ts';
import { fail, pass, type Verdict } from './check.ts';

/** The source's checks of the guest itself. */

export function checkRunning(state: CopyState, detail: string): Verdict {
  return state === 'running'
    ? pass(detail)
    : fail(`the VM is ${detail}`, 'start or resume the VM; a VM that does not run needs no live migration');
}

export function checkNoOtherJob(job: JobStats | undefined): Verdict {
  return job === undefined
    ? pass('libvirt has no job on the VM')
    : fail(`libvirt has a job on the VM (${job.operation})`, 'let the job end, or abort it with `virsh domjobabort`');
}

export function checkDevices(hostBound: readonly string[]): Verdict {
  return hostBound.length === 0
    ? pass('no device is tied to the host')
    : fail(`tied to this host: ${hostBound.join(', ')}`, 'detach these devices, or move the VM while it is shut off');
}

export function checkHostsDiffer(sourceUuid: string, destinationUuid: string): Verdict {
  return sourceUuid === destinationUuid
    ? fail(
        `source and destination have the same host UUID ${sourceUuid}`,
        "name two different hosts; should they be different, give each a host_uuid of its own in libvirtd's configuration",
      )
    : pass(`${sourceUuid} and ${destinationUuid}`);
}

export function checkNotHereYet(copies: readonly { name: string; state: CopyState }[]): Verdict {
  const active = copies.filter((copy) => copy.state !== 'shutoff' && copy.state !== 'absent');
  const named = active.map((copy) => `"${copy.name}" is ${copy.state}`).join(', ');
  return active.length === 0
    ? pass('no VM of this name or UUID is active here')
    : fail(
        `${named} here already`,
        'if that is the VM to be moved, source and destination are swapped or it is where it should be; if it is another VM of the ' +
          'same name or UUID, rename it or choose another destination',
      );
}
