import { describe, expect, it } from 'vitest';
import { eachWithControlPlane } from './control-plane.ts';

describe('cancelling', () => {
  const plane = eachWithControlPlane(async (started) => {
    await started.register(['kvm-a', 'kvm-b'], { limits: { outgoing: 1, incoming: 1 } });
    started.fleet.addGuest('kvm-a', { name: 'web' });
    started.fleet.addGuest('kvm-a', { name: 'db' });
  });

  /** Cancels as soon as the stage is about to be ordered: nothing of it has happened, everything before it has. */
  function cancelBefore(stage: string, migrationId: () => string): () => Promise<{ status: number }> | undefined {
    let answer: Promise<{ status: number }> | undefined;
    plane().aws.intercept(async ({ operation, input }, next) => {
      if (operation === 'Invoke' && String(input.Payload).includes(`"stage":"${stage}"`)) {
        answer ??= plane().cancel(migrationId());
        await answer;
      }
      return next();
    });
    return () => answer;
  }

  async function expectUnharmed(id: string): Promise<void> {
    expect(await plane().ended(id)).toMatchObject({ status: 'CANCELLED', failure: { code: 'Cancelled' } });
    expect(plane().runsOn('web')).toEqual(['kvm-a']);
    expect(plane().fleet.host('kvm-b').copies.has('web')).toBe(false);
    expect((await plane().executions()).find(({ name }) => name === id)).toMatchObject({ status: 'FAILED' });
  }

  it('stops a migration that waits in line', async () => {
    const first = await plane().migrate('db', { policy: { bandwidthMiBps: 50 } });
    await plane().reaches(first, 'PRECOPY');
    const id = await plane().migrate('web');
    await plane().reaches(id, 'QUEUED');
    expect(await plane().cancel(id)).toMatchObject({ status: 202, body: { status: 'CANCELLING' } });
    await expectUnharmed(id);
    expect(await plane().show(first)).toMatchObject({ status: 'PRECOPY' });
    await plane().ended(first);
  });

  it('stops a migration that was asked for a moment ago', async () => {
    let id = '';
    plane().aws.intercept(async ({ operation, input }, next) => {
      // Admission is under way, and has stored nothing yet.
      if (operation === 'TransactWriteItems' && id === '') {
        id = String(/"MIGRATION#([^"]+)"/.exec(JSON.stringify(input))?.[1]);
        expect(await plane().cancel(id)).toMatchObject({ status: 202 });
      }
      return next();
    });
    const asked = await plane().migrate('web');
    await expectUnharmed(asked);
    expect(asked).toBe(id);
  });

  it.each(['preflight', 'precopy', 'cutover'])('stops a migration before its %s', async (stage) => {
    let id = '';
    const answer = cancelBefore(stage, () => id);
    id = await plane().migrate('web');
    await expectUnharmed(id);
    expect(await answer()).toMatchObject({ status: 202 });
  });

  it('stops a copy, and may be asked for twice, then and afterwards', async () => {
    const id = await plane().migrate('web', { policy: { bandwidthMiBps: 50 } });
    await plane().reaches(id, 'PRECOPY');
    await plane().clock.advance(5_000);
    const answers = await Promise.all([plane().cancel(id), plane().cancel(id)]);
    expect(answers).toMatchObject([{ status: 202 }, { status: 202 }]);
    await expectUnharmed(id);
    expect(await plane().cancel(id)).toMatchObject({ status: 200, body: { status: 'CANCELLED' } });
    const { timeline } = await plane().show(id);
    expect(timeline.filter(({ event }) => event === 'cancel requested')).toHaveLength(1);
  });

  it('comes too late once the handover is committed, and says so', async () => {
    let answer: Promise<unknown> | undefined;
    plane()
      .fleet.host('kvm-b')
      .faults.set('finish', async (proceed) => {
        answer ??= plane().cancel(id);
        await answer;
        return proceed();
      });
    const id = await plane().migrate('web');
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
    expect(await answer).toMatchObject({
      status: 409,
      body: { code: 'AlreadyHandedOver', detail: expect.stringContaining('committed'), migrationId: id },
    });
    expect(await plane().cancel(id)).toMatchObject({
      status: 409,
      body: { code: 'AlreadyHandedOver', detail: expect.stringContaining('SUCCEEDED') },
    });
  });

  it.each([['while it looks at the hosts', 'inspect'] as const, ['while it settles', 'settle'] as const])(
    'has one outcome during recovery, %s',
    async (_, moment) => {
      let answer: ReturnType<ReturnType<typeof plane>['cancel']> | undefined;
      plane().aws.intercept(async ({ operation, input }, next) => {
        const payload = String(input.Payload);
        const now = moment === 'inspect' ? payload.includes('"stage":"inspect"') : payload.includes('"outcome"');
        if (operation === 'Invoke' && now) answer ??= plane().cancel(id);
        if (operation === 'Invoke' && now) await answer;
        return next();
      });
      const id = await plane().migrate('web', { policy: { bandwidthMiBps: 50 } });
      await plane().reaches(id, 'PRECOPY');
      plane().host('kvm-a').node.killMovers();
      await expectUnharmed(id);
      expect(await answer).toMatchObject({ status: 202 });
      expect(await plane().cancel(id)).toMatchObject({ status: 200, body: { status: 'CANCELLED' } });
    },
  );

  it('asked for as the outcome is written is part of it', async () => {
    let answer: ReturnType<ReturnType<typeof plane>['cancel']> | undefined;
    plane().aws.intercept(async ({ operation, input }, next) => {
      // Settle has read the record, and writes.
      if (operation === 'UpdateItem' && String(input.UpdateExpression).includes('#endedAt = :endedAt')) {
        answer ??= plane().cancel(id);
        await answer;
      }
      return next();
    });
    const id = await plane().migrate('nobody');
    const view = await plane().ended(id);
    expect(view.status).toBe('CANCELLED');
    expect(await answer).toMatchObject({ status: 202 });
    expect((await plane().executions()).filter(({ name }) => name === id)).toHaveLength(1);
  });

  it('comes too late for a migration that failed', async () => {
    const id = await plane().migrate('nobody');
    await plane().ended(id);
    expect(await plane().cancel(id)).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('FAILED') },
    });
  });
});
