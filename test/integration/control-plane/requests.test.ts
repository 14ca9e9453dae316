import { describe, expect, it } from 'vitest';
import type { MigrationView } from '../../../contract/api.ts';
import { AwsError } from '../../../embedded-aws/core/service.ts';
import { migrationKey } from '../../../lambdas/platform/control-keys.ts';
import { type ControlPlane, eachWithControlPlane } from './control-plane.ts';

const BODY = { vm: 'web', source: 'kvm-a', destination: 'kvm-b' };

async function withGuest(plane: ControlPlane): Promise<void> {
  await plane.register(['kvm-a', 'kvm-b']);
  plane.fleet.addGuest('kvm-a', { name: 'web' });
}

describe('a request to migrate', () => {
  const plane = eachWithControlPlane(withGuest);

  it('is answered at once, can be looked at at once, and ends with the VM on the other host', async () => {
    const { status, headers, body } = await plane().http<Record<string, string>>('POST', '/migrations', {
      body: { ...BODY, reason: 'a test' },
    });
    expect(status).toBe(202);
    const { migrationId } = body;
    expect(body).toEqual({
      migrationId: expect.stringMatching(/^web-[0-9a-f]{10}$/),
      status: 'REQUESTED',
      executionArn: expect.stringContaining(`:handoff-migrate:${migrationId}`),
      consoleUrl: expect.stringContaining(`/details/${body.executionArn}`),
    });
    expect(headers.location).toBe(`/migrations/${migrationId}`);
    expect(await plane().show(migrationId!)).toMatchObject({ ...BODY, migrationId });

    const view = await plane().ended(migrationId!);
    expect(view).toMatchObject({
      status: 'SUCCEEDED',
      runsOn: 'kvm-b',
      reason: 'a test',
      result: { precopy: 'approaching', downtimeMs: expect.any(Number), commitMs: expect.any(Number) },
    });
    expect(view.checks!.filter(({ passed }) => !passed)).toEqual([]);
    // Events of the same millisecond, of which virtual time has many, come in any order.
    expect(new Set(view.timeline.map(({ event }) => event))).toEqual(
      new Set([
        'admitted',
        ...['preflight', 'precopy', 'observe-guest', 'cutover', 'verify'].flatMap((stage) => [
          `${stage} task sent`,
          `${stage} succeeded`,
        ]),
        'ended',
      ]),
    );
    expect(plane().runsOn('web')).toEqual(['kvm-b']);
    expect(await plane().executions()).toMatchObject([{ name: migrationId, status: 'SUCCEEDED' }]);
  });

  it.each([
    ['no field at all', {}, ['vm', 'source', 'destination']],
    ['a VM name libvirt forbids', { ...BODY, vm: 'a/b' }, ['vm']],
    ['a policy that is not there', { ...BODY, policy: { blackoutBudget: 3 } }, ['policy.blackoutBudget']],
    [
      'a policy out of range',
      { ...BODY, policy: { blackoutBudgetMs: 0, deadlineSeconds: 1, bandwidthMiBps: 0.5 } },
      ['policy.blackoutBudgetMs', 'policy.deadlineSeconds', 'policy.bandwidthMiBps'],
    ],
    ['a guest address that is none', { ...BODY, guestAddress: 'web.example.org' }, ['guestAddress']],
    ['the same host twice', { ...BODY, destination: 'kvm-a' }, ['destination']],
  ])('with %s is refused with 400 and leaves nothing', async (_, body, fields) => {
    const before = await plane().control();
    const answer = await plane().http('POST', '/migrations', { body, key: 'refused' });
    expect(answer).toMatchObject({ status: 400, body: { code: 'InvalidInput' } });
    expect(answer.body.errors?.map(({ field }) => field)).toEqual(fields);
    expect(await plane().control()).toEqual(before);
    expect(await plane().executions()).toEqual([]);
  });

  it('to or from a host nobody registered is refused with 404', async () => {
    const before = await plane().control();
    for (const wrong of [{ source: 'kvm-9' }, { destination: 'kvm-9' }]) {
      expect(await plane().http('POST', '/migrations', { body: { ...BODY, ...wrong } })).toMatchObject({
        status: 404,
        body: { code: 'UnknownHost', detail: expect.stringContaining('kvm-9') },
      });
    }
    expect(await plane().control()).toEqual(before);
  });

  it('of a VM that is on its way is refused with 409, naming the migration', async () => {
    const first = await plane().migrate('web');
    await plane().reaches(first, 'PRECOPY');
    expect(await plane().http('POST', '/migrations', { body: BODY })).toMatchObject({
      status: 409,
      body: { code: 'VmBusy', migrationId: first },
    });
    await plane().ended(first);
  });

  it('that comes together with another of the same VM loses, and does not disturb it', async () => {
    const [one, two] = await Promise.all([plane().migrate('web'), plane().migrate('web')]);
    const views = [await plane().ended(one), await plane().ended(two)];
    const lost = views.find(({ status }) => status === 'FAILED');
    expect(views.find(({ status }) => status === 'SUCCEEDED')).toBeDefined();
    expect(lost?.failure).toMatchObject({ code: 'VmBusy', message: expect.stringContaining('web') });
    expect(plane().runsOn('web')).toEqual(['kvm-b']);
  });

  it('to a cordoned host is refused with 409; from one it is not', async () => {
    await plane().http('POST', '/hosts/kvm-b/evacuate');
    await plane().clock.advance(60_000);
    expect(await plane().listHosts()).toMatchObject([{}, { state: 'IN_MAINTENANCE' }]);
    expect(await plane().http('POST', '/migrations', { body: BODY })).toMatchObject({
      status: 409,
      body: { code: 'HostNotAccepting', detail: expect.stringContaining('uncordon') },
    });
    plane().fleet.addGuest('kvm-b', { name: 'db' });
    const id = await plane().migrate('db', { source: 'kvm-b', destination: 'kvm-a' });
    expect(await plane().ended(id)).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-a' });
  });
});

describe('an Idempotency-Key', () => {
  const plane = eachWithControlPlane(withGuest);
  const post = (key: string, body: object = BODY) =>
    plane().http<{ migrationId: string; code?: string }>('POST', '/migrations', { body, key });

  it('makes the same request the same migration, while it runs and after it', async () => {
    const [first, twin] = await Promise.all([post('k1'), post('k1')]);
    expect([first.status, twin.status]).toEqual([202, 202]);
    const { migrationId } = first.body;
    expect(twin.body.migrationId).toBe(migrationId);
    await plane().reaches(migrationId, 'PRECOPY');
    expect(await post('k1')).toMatchObject({ status: 202, body: { migrationId } });
    await plane().ended(migrationId);
    expect(await post('k1')).toMatchObject({ status: 202, body: { migrationId } });
    expect(await plane().executions()).toHaveLength(1);
  });

  it('is the same request however its defaults are written', async () => {
    const first = await post('k1');
    const same = await post('k1', {
      destination: 'kvm-b',
      policy: { blackoutBudgetMs: 300 },
      source: 'kvm-a',
      vm: 'web',
    });
    expect(same).toMatchObject({ status: 202, body: { migrationId: first.body.migrationId } });
    await plane().ended(first.body.migrationId);
  });

  it('is refused with 422 for a different request', async () => {
    const { migrationId } = (await post('k1')).body;
    expect(await post('k1', { ...BODY, vm: 'db' })).toMatchObject({
      status: 422,
      body: { code: 'IdempotencyKeyReused', migrationId },
    });
    await plane().ended(migrationId);
    expect(await plane().executions()).toHaveLength(1);
  });

  it('that is no key is refused', async () => {
    expect(await post('a b')).toMatchObject({ status: 400, body: { errors: [{ field: 'Idempotency-Key' }] } });
    expect(await post('k'.repeat(129))).toMatchObject({ status: 400 });
  });

  it.each([
    ['before the execution was started', false],
    ['after it, before the answer', true],
  ])('leads to exactly one execution when AWS fails %s', async (_, started) => {
    let failures = 0;
    plane().aws.intercept(async ({ operation }, next) => {
      if (operation !== 'StartExecution' || failures > 0) return next();
      failures += 1;
      if (started) await next();
      throw new AwsError('ServiceUnavailable', 'try again', 503);
    });
    expect(await post('k1')).toMatchObject({ status: 500, body: { code: 'Internal' } });
    const again = await post('k1');
    expect(again.status).toBe(202);
    expect(await plane().ended(again.body.migrationId)).toMatchObject({ status: 'SUCCEEDED' });
    expect(await plane().executions()).toMatchObject([{ name: again.body.migrationId }]);
  });
});

describe('the list of migrations', () => {
  const plane = eachWithControlPlane((started) =>
    started.register(['kvm-a', 'kvm-b', 'kvm-c'], { limits: { outgoing: 32, incoming: 32 } }),
  );
  interface Page {
    migrations: MigrationView[];
    next?: string;
  }
  const list = async (query = '') => (await plane().http<Page>('GET', `/migrations${query}`)).body;
  const ids = ({ migrations }: Page) => migrations.map(({ migrationId }) => migrationId);

  /** Migrations of VMs that are not there: over in no time. */
  async function history(count: number): Promise<string[]> {
    const started: string[] = [];
    for (let number = 0; number < count; number += 1) {
      const destination = number % 2 === 0 ? 'kvm-b' : 'kvm-c';
      started.unshift(await plane().migrate(`vm${number}`, { destination }));
      await plane().clock.advance(1_000);
    }
    await plane().ended(started[0]!);
    return started;
  }

  it('shows all, newest first, in pages that miss nothing and show nothing twice', async () => {
    const all = await history(27);
    const first = await list();
    expect(ids(first)).toEqual(all.slice(0, 25));
    const second = await list(`?next=${first.next}`);
    expect([...ids(first), ...ids(second)]).toEqual(all);
    expect(second.next).toBeUndefined();

    const pages: string[] = [];
    for (let page = await list('?limit=5&host=kvm-b'); ; page = await list(`?limit=5&host=kvm-b&next=${page.next}`)) {
      pages.push(...ids(page));
      if (page.next === undefined) break;
    }
    expect(pages).toEqual(all.filter((_, index) => index % 2 === 0));
  });

  it('shows those of a VM, of a host on either side, and of a status', async () => {
    const [newest, older] = (await history(2)) as [string, string];
    plane().fleet.addGuest('kvm-a', { name: 'web' });
    const moved = await plane().migrate('web');
    await plane().ended(moved);
    expect(ids(await list('?vm=web'))).toEqual([moved]);
    expect(ids(await list('?host=kvm-a'))).toEqual([moved, newest, older]);
    expect(ids(await list('?host=kvm-c'))).toEqual([newest]);
    expect(ids(await list('?status=SUCCEEDED'))).toEqual([moved]);
    expect(ids(await list('?status=FAILED'))).toEqual([newest, older]);
    expect(ids(await list('?vm=nobody'))).toEqual([]);
    expect((await list('?vm=web')).migrations[0]).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm-b' });
  });

  const forged = Buffer.from(JSON.stringify({ pk: migrationKey('x').pk })).toString('base64url');
  it.each([
    ['a limit out of range', '?limit=101', 'limit'],
    ['a limit that is no number', '?limit=ten', 'limit'],
    ['a status that is none', '?status=DONE', 'status'],
    ['a filter that is not there', '?owner=me', 'owner'],
    ['a page that never was', '?next=nonsense', 'next'],
    ['a forged page', `?next=${forged}`, 'next'],
    ['two filters at once', '?vm=web&host=kvm-a', 'vm'],
  ])('refuses %s', async (_, query, field) => {
    const answer = await plane().http('GET', `/migrations${query}`);
    expect(answer).toMatchObject({ status: 400, body: { code: 'InvalidInput' } });
    expect(answer.body.errors?.[0]?.field).toBe(field);
  });

  it('refuses the page of another list', async () => {
    await history(3);
    const { next } = await list('?limit=1');
    expect(await plane().http('GET', `/migrations?host=kvm-a&next=${next}`)).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'next' }] },
    });
  });
});
