import { HypervisorError } from '../../agent/hypervisor.ts';

/** An error that libvirt answers with. 55 is VIR_ERR_OPERATION_INVALID. */
export function libvirtError(message: string, libvirtCode = 55): HypervisorError {
  return new HypervisorError(message, { answered: true, libvirtCode });
}

/** No answer from libvirt: the connection was lost, or was never made. */
export function connectionError(message: string): HypervisorError {
  return new HypervisorError(message, { answered: false });
}
