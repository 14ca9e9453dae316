import { describe, expect, it } from 'vitest';
import { type ControlPlane, eachWithControlPlane } from './control-plane.ts';

/** What takes a few minutes elsewhere takes more than a quarter of an hour. */
const LINK_MIBPS = 20;

async function withBusyGuest(plane: ControlPlane): Promise<void> {
  await plane.register(['kvm-a', 'kvm-b'], { linkMiBps: LINK_MIBPS });
  plane.fleet.addGuest('kvm-a', { name: 'web', memoryMiB: 32_768, dirtyMiBps: 3_000, workingSetMiB: 26_000 });
}

async function inPostCopy(plane: ControlPlane): Promise<string> {
  const id = await plane.migrate('web', { policy: { onNonConvergence: 'postcopy', deadlineSeconds: 7_200 } });
  const begun = async () => plane.fleet.host('kvm-b').copies.get('web')?.state === 'postcopy-running';
  await plane.until('post-copy has begun', begun, 7_200);
  return id;
}

describe('a post-copy', () => {
  const plane = eachWithControlPlane(withBusyGuest);

  it('takes as long as the rest of the memory takes', async () => {
    const id = await inPostCopy(plane());
    const began = plane().clock.now();
    expect(await plane().ended(id, 7_200)).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
    expect(plane().clock.now() - began).toBeGreaterThan(1_000_000);
    expect((await plane().show(id)).warning).toBeUndefined();
  });

  it('is taken to its end by libvirt when its mover dies, however long that takes', async () => {
    const id = await inPostCopy(plane());
    plane().host('kvm-a').node.killMovers();
    expect(await plane().ended(id, 7_200)).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
    expect(plane().runsOn('web')).toEqual(['kvm-b']);
    expect(plane().fleet.host('kvm-a').copies.size).toBe(0);
  });

  it('that breaks after a long time is resumed by recovery', async () => {
    const id = await inPostCopy(plane());
    plane().host('kvm-a').node.killMovers();
    await plane().clock.advance(20 * 60_000);
    plane().fleet.host('kvm-a').mustHave('web').postCopy?.break();
    expect(await plane().ended(id, 7_200)).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
  });
});

describe('recovery from a long copy', () => {
  const plane = eachWithControlPlane(async (control) => {
    await control.register(['kvm-a', 'kvm-b'], { linkMiBps: LINK_MIBPS });
    control.fleet.addGuest('kvm-a', { name: 'web', memoryMiB: 32_768, dirtyMiBps: 1, workingSetMiB: 64 });
  });

  it('has all its patience before it asks an operator', async () => {
    const id = await plane().migrate('web', { policy: { heartbeatTimeoutSeconds: 10 } });
    await plane().reaches(id, 'PRECOPY');
    await plane().clock.advance(20 * 60_000);
    // The destination keeps what it has received until it notices.
    plane().fleet.network.cut('kvm-a', 'kvm-b');
    plane().host('kvm-a').node.killMovers();
    expect(await plane().ended(id)).toMatchObject({ status: 'FAILED', runsOn: 'kvm-a' });
    expect(plane().runsOn('web')).toEqual(['kvm-a']);
  });
});
