import { describe, expect, it } from 'vitest';
import type { NodeExecutor } from '../../../embedded-aws/ssm/node.ts';
import { type ControlPlane, eachWithControlPlane } from './control-plane.ts';

const ADDRESS = '10.1.0.5';
const seen = (more: object = {}) => ({ observed: true, address: ADDRESS, announcedAgain: false, ...more });
const unseen = (why: RegExp) => ({ observed: false, why: expect.stringMatching(why) });

describe('the blackout as seen from outside', () => {
  const plane = eachWithControlPlane(async (plane: ControlPlane) => {
    await plane.register(['kvm-a', 'kvm-b']);
    plane.fleet.addGuest('kvm-a', { name: 'web', address: ADDRESS });
  });

  /** Puts something in front of the agent when it is to observe. */
  const onObserve = (wrap: (run: () => ReturnType<NodeExecutor['run']>) => ReturnType<NodeExecutor['run']>) => {
    const { nodeId, node } = plane().host('kvm-b');
    plane().aws.registerNode(nodeId, {
      run: (step, signal) => {
        const run = () => node.run(step, signal);
        return step.script.includes('.observe-guest.') || JSON.stringify(step.env).includes('.observe-guest.')
          ? wrap(run)
          : run();
      },
    });
  };
  const secondsOf = async (id: string): Promise<number> => {
    const { requestedAt, endedAt } = await plane().show(id);
    return (Date.parse(endedAt!) - Date.parse(requestedAt)) / 1_000;
  };

  it('is in the record for both hosts, beside QEMU’s downtime', async () => {
    const id = await plane().migrate('web', { guestAddress: ADDRESS });
    await plane().ended(id);
    // Read anew: nothing waits for the observer's report, which may have come while the end was read.
    const { result, timeline } = await plane().show(id);
    expect(result?.downtimeMs).toBeGreaterThan(0);
    const both = seen({ addressFrom: 'request' });
    expect(result?.blackout).toMatchObject({ source: both, destination: both });
    const at = (event: string) => timeline.find((entry) => entry.event === event)!.at;
    expect(at('observe-guest task sent') <= at('precopy task sent')).toBe(true);
    expect(at('observe-guest succeeded') >= at('cutover task sent')).toBe(true);
  });

  const taskOfObserver = async () => {
    const tasks = (await plane().mailbox()).map(({ task }) => task as { stage?: string; guest?: object } | undefined);
    return tasks.find((task) => task?.stage === 'observe-guest');
  };

  it('is observed by the destination at the address that the source’s preflight found', async () => {
    const id = await plane().migrate('web');
    const { result } = await plane().ended(id);
    const both = seen({ addressFrom: 'arp' });
    expect(result?.blackout).toMatchObject({ source: both, destination: both });
    expect((await taskOfObserver())?.guest).toMatchObject({ address: ADDRESS, addressFrom: 'arp' });
  });

  it('is observed by a destination that can read, before the switch, whether the guest answers the source', async () => {
    const id = await plane().migrate('web', { policy: { cutover: 'manual' } });
    await plane().reaches(id, 'PRECOPY');
    await plane().clock.advance(1_000);
    expect((await taskOfObserver())?.guest).toEqual({ address: ADDRESS, addressFrom: 'arp' });
    await plane().reaches(id, 'HELD');
    await plane().clock.advance(1_000);
    expect((await taskOfObserver())?.guest).toEqual({ address: ADDRESS, addressFrom: 'arp', answers: true });
    await plane().http('POST', `/migrations/${id}/cutover`);
    expect((await plane().ended(id)).result?.blackout).toMatchObject({ destination: seen() });
  });

  it('is observed from the destination of a guest that switches by itself', async () => {
    plane().fleet.addGuest('kvm-a', { name: 'idle', address: '10.1.0.7', memoryMiB: 256, dirtyMiBps: 0 });
    plane()
      .fleet.host('kvm-a')
      .faults.set('job', async (proceed) => {
        const job = (await proceed()) as { bytesRemaining: number } | undefined;
        // Never near its end, as far as the brake can tell.
        return job && { ...job, bytesRemaining: 400 * 1_048_576, bytesTotal: 500 * 1_048_576 };
      });
    const { result } = await plane().ended(await plane().migrate('idle', { guestAddress: '10.1.0.7' }));
    expect(result).toMatchObject({ precopy: 'completed', blackout: { destination: { observed: true } } });
  });

  it('is not observed, and never zero, when no address is known', async () => {
    plane().fleet.addGuest('kvm-a', { name: 'quiet' });
    const { result } = await plane().ended(await plane().migrate('quiet'));
    expect(result?.blackout).toEqual({ source: unseen(/no address/), destination: unseen(/no address/) });
  });

  it('says that the guest was announced again', async () => {
    plane().fleet.addGuest('kvm-a', { name: 'lost', address: '10.1.0.6', unannounced: true });
    const id = await plane().migrate('lost', { guestAddress: '10.1.0.6' });
    await plane().ended(id);
    const { status, result, timeline } = await plane().show(id);
    expect(status).toBe('SUCCEEDED');
    expect(result?.blackout?.destination).toMatchObject({ observed: true, announcedAgain: true });
    expect(timeline).toContainEqual(
      expect.objectContaining({ event: 'guest announced again', detail: expect.objectContaining({ host: 'kvm-b' }) }),
    );
  });

  it('costs the migration nothing when the observation is lost, silent, or cannot be ordered', async () => {
    const plain = await plane().migrate('web', { guestAddress: ADDRESS });
    expect(await plane().ended(plain)).toMatchObject({ status: 'SUCCEEDED' });
    const usual = await secondsOf(plain);
    const back = { source: 'kvm-b', destination: 'kvm-a', guestAddress: ADDRESS };
    const faults: (() => void)[] = [
      () => onObserve(() => new Promise(() => {})),
      () => onObserve(async () => ({ exitCode: 1, stdout: '', stderr: 'killed' })),
      () =>
        plane().aws.intercept(async ({ operation, input }, next) => {
          if (operation === 'SendCommand' && JSON.stringify(input).includes('.observe-guest.'))
            throw new Error('throttled');
          return next();
        }),
    ];
    for (const fault of faults) {
      await plane().ended(await plane().migrate('web', back));
      fault();
      const id = await plane().migrate('web', { guestAddress: ADDRESS });
      const { status, result } = await plane().ended(id);
      expect(status).toBe('SUCCEEDED');
      expect(await secondsOf(id)).toBeLessThan(usual + 1);
      expect(result?.blackout).toMatchObject({ source: seen(), destination: unseen(/has not reported/) });
    }
  });

  it('is reported late when the observation is late', async () => {
    onObserve(async (run) => {
      await plane().clock.sleep(30_000);
      return run();
    });
    const id = await plane().migrate('web', { guestAddress: ADDRESS });
    expect((await plane().ended(id)).result?.blackout?.destination).toEqual(unseen(/has not reported/));
    await plane().clock.advance(60_000);
    expect((await plane().show(id)).result?.blackout?.destination).toEqual(unseen(/ran here already/));
  });

  it('is not told of a VM that stayed where it was', async () => {
    plane()
      .fleet.host('kvm-b')
      .faults.set('finish', async (proceed) => {
        plane().fleet.host('kvm-b').killQemu('web');
        return proceed();
      });
    const view = await plane().ended(await plane().migrate('web', { guestAddress: ADDRESS }));
    expect(view).toMatchObject({ status: 'FAILED', runsOn: 'kvm-a' });
    expect(view.result?.blackout).toBeUndefined();
  });
});
