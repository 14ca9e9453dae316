/** One call to a daemon on the same network, in ms. */
export const CALL_MS = 1;
/** Starting the guest's CPUs on the destination, in ms. */
export const FINISH_MS = 20;
/** Taking the source's QEMU down, in ms. */
export const CONFIRM_MS = 1_300;
/** Both ends of a connection send keepalives every 5 s, and close it when five were not answered. */
export const KEEPALIVE_MS = { interval: 5_000, least: 25_000 };
/** libvirt's keepalive ends a migration stream that carries nothing for so long, in ms. */
export const STREAM_TIMEOUT_MS = 30_000;
/** Ending a stall wakes a job or a stream. In a stall that never ends it wakes so often by itself, in ms. */
export const STALL_CHECK_MS = 60_000;
