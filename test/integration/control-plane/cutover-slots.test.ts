import { describe, expect, it } from 'vitest';
import type { MigrationView } from '../../../contract/api.ts';
import { eachWithControlPlane } from './control-plane.ts';

const VMS = ['one', 'two', 'three'];
const ON_ORDER = { policy: { cutover: 'manual' } } as const;
const span = (view: MigrationView, stage: string): [from: number, to: number] => {
  const at = (event: string) => Date.parse(view.timeline.find((entry) => entry.event === event)!.at);
  return [at(`${stage} task sent`), at(`${stage} succeeded`)];
};
const momentsOf = (view: MigrationView, event: string) => view.timeline.filter((entry) => entry.event === event);

describe('cutovers', () => {
  const plane = eachWithControlPlane(async (started) => {
    await started.register(['kvm-a', 'kvm-b', 'kvm-c'], { limits: { outgoing: 3, incoming: 3 } });
    for (const name of VMS) started.fleet.addGuest('kvm-a', { name });
  });
  const task = (id: string) => plane().http<{ status: string; code?: string }>('POST', `/migrations/${id}/cutover`);

  it('take turns: pre-copies run side by side, one VM switches at a time', async () => {
    const ids = await Promise.all(VMS.map((vm) => plane().migrate(vm)));
    const views = [];
    for (const id of ids) views.push(await plane().ended(id));
    const copies = views.map((view) => span(view, 'precopy'));
    expect(Math.max(...copies.map(([from]) => from))).toBeLessThan(Math.min(...copies.map(([, to]) => to)));
    const cutovers = views.map((view) => span(view, 'cutover')).toSorted(([a], [b]) => a - b);
    for (const [index, [begun]] of cutovers.entries()) {
      if (index > 0) expect(begun).toBeGreaterThanOrEqual(cutovers[index - 1]![1]);
    }
  });

  it('wait for the word where the policy says so, and come one after the other as it is given', async () => {
    const ids = await Promise.all(VMS.map((vm) => plane().migrate(vm, ON_ORDER)));
    for (const id of ids) await plane().reaches(id, 'HELD');
    await plane().clock.advance(10_000);
    expect(VMS.map((vm) => plane().runsOn(vm))).toEqual([['kvm-a'], ['kvm-a'], ['kvm-a']]);
    for (const [index, id] of ids.entries()) {
      expect(await task(id)).toMatchObject({ status: 202 });
      // A second word changes nothing.
      expect(await task(id)).toMatchObject({ status: 202 });
      const view = await plane().ended(id);
      expect(view).toMatchObject({ status: 'SUCCEEDED', result: { precopy: 'held' } });
      expect(momentsOf(view, 'cutover requested')).toHaveLength(1);
      expect(plane().runsOn(VMS[index]!)).toEqual(['kvm-b']);
    }
  });

  it('may be ordered before the copy is held', async () => {
    const id = await plane().migrate('one', ON_ORDER);
    await plane().reaches(id, 'PREFLIGHT');
    expect(await task(id)).toMatchObject({ status: 202 });
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED' });
  });

  it('wait for the word also where the last report is the first to say that the copy is held', async () => {
    plane().aws.intercept(async ({ operation, input, caller }, next) => {
      const progress = operation === 'UpdateItem' && JSON.stringify(input).includes('"phase":{"S":"held"}');
      return progress && caller.userId.includes(':mi-') ? {} : next();
    });
    const id = await plane().migrate('one', ON_ORDER);
    await plane().reaches(id, 'HELD');
    await task(id);
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED', result: { precopy: 'held' } });
  });

  it('that wait for the word can be cancelled, and are over when no word comes', async () => {
    const [one, two] = await Promise.all([plane().migrate('one', ON_ORDER), plane().migrate('two', ON_ORDER)]);
    await plane().reaches(one, 'HELD');
    expect(await plane().cancel(one)).toMatchObject({ status: 202 });
    expect(await plane().ended(one)).toMatchObject({ status: 'CANCELLED' });
    expect(await task(one)).toMatchObject({ status: 409, body: { code: 'NotHeld' } });
    const view = await plane().ended(two);
    // The hold lasts about a minute here; the guest has switched by itself then, which is not undone.
    expect(['SUCCEEDED', 'FAILED']).toContain(view.status);
    expect(plane().runsOn('two')).toEqual([view.status === 'SUCCEEDED' ? 'kvm-b' : 'kvm-a']);
  });

  it('cannot be ordered of a migration that does not wait for it, nor of one unknown', async () => {
    const id = await plane().migrate('one');
    await plane().reaches(id, 'PREFLIGHT');
    expect(await task(id)).toMatchObject({ status: 409, body: { code: 'NotHeld' } });
    expect(await task('nobody-knows')).toMatchObject({ status: 404 });
    await plane().ended(id);
  });
});
