import type { EmbeddedAws } from '../../embedded-aws/embedded-aws.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';

export interface Evacuations {
  aws: EmbeddedAws;
  fleet: SimulatedFleet;
  count: number;
  /** They begin within this time, in ms. */
  withinMs: number;
  random: () => number;
  log(message: string): void;
}

/** Schedules the evacuation of random hosts at random times. EventBridge delivers at least once: some of these events come twice. */
export function scheduleEvacuations({ aws, fleet, count, withinMs, random, log }: Evacuations): { done(): boolean } {
  const hosts = fleet.hosts().map(({ spec }) => spec.hostId);
  let left = 0;
  const event = async (host: string, at: number): Promise<void> => {
    left += 1;
    await fleet.clock.sleep(at);
    log(`${host} is to be evacuated`);
    const detail = { host, policy: { migrateStorage: true } };
    aws.putEvent({ source: 'handoff.maintenance', detailType: 'Host Maintenance Scheduled', detail });
    left -= 1;
  };
  for (let number = 1; number <= count; number++) {
    const host = hosts[Math.floor(random() * hosts.length)]!;
    const at = Math.floor(random() * withinMs);
    void event(host, at);
    if (random() < 0.3) void event(host, at + Math.floor(random() * 60_000));
  }
  return { done: () => left === 0 };
}
