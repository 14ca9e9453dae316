import { describe, expect, it } from 'vitest';
import { eachWithControlPlane } from './control-plane.ts';

const BODY = {
  nodeId: 'mi-0123456789abcdef0',
  address: '10.0.0.9',
  libvirtUri: 'qemu+tcp://10.0.0.9/system',
};

describe('removing a host', () => {
  const plane = eachWithControlPlane(async (started) => {
    await started.register(['kvm-a', 'kvm-b']);
  });
  const remove = (host: string, query = '') => plane().http('DELETE', `/hosts/${host}?${query}`);
  const empty = async (host: string) => {
    await plane().http('POST', `/hosts/${host}/evacuate`);
    await plane().clock.advance(60_000);
  };
  const refusal = (why: RegExp) => ({ status: 409, body: { code: 'HostInUse', detail: expect.stringMatching(why) } });

  it('takes one that was emptied out of use; it can be registered again', async () => {
    expect(await remove('kvm-a')).toMatchObject(refusal(/empty it first/));
    await empty('kvm-a');
    expect(await remove('kvm-a')).toMatchObject({ status: 200, body: { hostId: 'kvm-a', state: 'IN_MAINTENANCE' } });
    expect((await plane().listHosts()).map(({ hostId }) => hostId)).toEqual(['kvm-b']);
    expect(await remove('kvm-a')).toMatchObject({ status: 404, body: { code: 'UnknownHost' } });
    expect(await plane().http('PUT', '/hosts/kvm-a', { body: BODY })).toMatchObject({ body: { state: 'ACTIVE' } });
  });

  it('is refused while a migration holds something of it, whatever a person says', async () => {
    plane().fleet.addGuest('kvm-b', { name: 'web' });
    const id = await plane().migrate('web', {
      source: 'kvm-b',
      destination: 'kvm-a',
      policy: { cutover: 'manual' },
    });
    await plane().reaches(id, 'HELD');
    await empty('kvm-a');
    for (const query of ['', 'gone=true']) {
      expect(await remove('kvm-a', query)).toMatchObject(refusal(new RegExp(`${id} holds its incoming slot`)));
    }
    await plane().http('POST', `/migrations/${id}/cancel`);
    await plane().ended(id);
    await plane().clock.advance(900_000);
    expect(await remove('kvm-a')).toMatchObject({ status: 200 });
  });

  it('says what is wrong with a word it does not know', async () => {
    expect(await remove('kvm-a', 'gone=perhaps')).toMatchObject({ status: 400, body: { code: 'InvalidInput' } });
    expect(await remove('kvm-9')).toMatchObject({ status: 404 });
  });
});

describe('registering a host', () => {
  const plane = eachWithControlPlane(async () => {});

  it('stores it with the limits that are usual, and lists it', async () => {
    const { status, body } = await plane().http('PUT', '/hosts/kvm-9', { body: BODY });
    const view = {
      ...BODY,
      hostId: 'kvm-9',
      state: 'ACTIVE',
      limits: { outgoing: 2, incoming: 2, cutovers: 1 },
      outgoing: [],
      incoming: [],
      reservedMiB: 0,
    };
    expect([status, body]).toEqual([200, view]);
    expect(await plane().listHosts()).toEqual([view]);
  });

  it('changes a registration and leaves the rest of the host as it is', async () => {
    await plane().http('PUT', '/hosts/kvm-9', { body: BODY });
    const changed = { ...BODY, address: 'kvm9.example.org', limits: { incoming: 5 } };
    expect(await plane().http('PUT', '/hosts/kvm-9', { body: changed })).toMatchObject({
      status: 200,
      body: { address: 'kvm9.example.org', limits: { outgoing: 2, incoming: 5 }, state: 'ACTIVE' },
    });
  });

  it('names every field that is wrong, and says what would be right', async () => {
    const body = {
      address: 'not an address',
      libvirtUri: 'http://10.0.0.9',
      limits: { outgoing: 0, incoming: 'many' },
      colour: 'blue',
    };
    const answer = await plane().http('PUT', '/hosts/kvm-9', { body });
    expect(answer).toMatchObject({
      status: 400,
      headers: { 'content-type': 'application/problem+json' },
      body: { code: 'InvalidInput', type: 'urn:handoff:problem:InvalidInput', status: 400 },
    });
    const errors = Object.fromEntries(answer.body.errors!.map(({ field, message }) => [field, message]));
    expect(errors).toEqual({
      nodeId: 'is missing; it must be of type string',
      address: 'must be an IP address or a DNS name',
      libvirtUri: expect.stringContaining('such as "qemu+tcp://10.0.0.2/system"'),
      'limits.outgoing': expect.stringContaining('>=1'),
      'limits.incoming': expect.stringContaining('expected number'),
      colour: 'is not a field of this request',
    });
    for (const field of Object.keys(errors)) expect(answer.body.detail).toContain(`${field}: `);
    expect(await plane().control()).toEqual([]);
  });

  it.each([
    ['a host name with capitals', '/hosts/Rack4', 'hostId', 'lower-case'],
    ['a node id that is none', '/hosts/kvm-9', 'nodeId', 'such as "mi-0123456789abcdef0"'],
  ])('refuses %s', async (_, path, field, what) => {
    const answer = await plane().http('PUT', path, { body: { ...BODY, nodeId: 'node-1' } });
    expect(answer).toMatchObject({
      status: 400,
      body: { errors: [{ field, message: expect.stringContaining(what) }] },
    });
    expect(await plane().control()).toEqual([]);
  });

  it('refuses a node that is another host', async () => {
    await plane().http('PUT', '/hosts/kvm-9', { body: BODY });
    const before = await plane().control();
    expect(await plane().http('PUT', '/hosts/kvm-8', { body: BODY })).toMatchObject({
      status: 400,
      body: { code: 'InvalidInput', errors: [{ field: 'nodeId', message: expect.stringContaining('kvm-9') }] },
    });
    expect(await plane().control()).toEqual(before);
  });
});

describe('the API', () => {
  const plane = eachWithControlPlane();

  it.each([
    ['a body that is no JSON', { text: '{"nodeId": ' }, 'not valid JSON'],
    ['no body', {}, 'body: is missing'],
    ['a body that is no object', { body: ['kvm'] }, 'expected object'],
  ])('answers 400 to %s', async (_, sent, what) => {
    const before = await plane().control();
    expect(await plane().http('PUT', '/hosts/kvm-a', sent)).toMatchObject({
      status: 400,
      body: { code: 'InvalidInput', detail: expect.stringContaining(what) },
    });
    expect(await plane().control()).toEqual(before);
  });

  it('says so when a body does not come as JSON', async () => {
    const { response } = await plane()
      .aws.inProcess()
      .requestHandler.handle({
        method: 'POST',
        path: '/migrations',
        headers: {
          authorization: 'AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/execute-api/aws4_request',
          'content-type': 'application/x-www-form-urlencoded',
        },
        body: '{"vm": "web"}',
      });
    expect(response.statusCode).toBe(400);
    expect(new TextDecoder().decode(response.body)).toContain('content-type: application/json');
  });

  it('takes a content type without a body, as some clients send it', async () => {
    expect(await plane().http('GET', '/hosts', { text: '' })).toMatchObject({ status: 200 });
    expect(await plane().http('POST', '/hosts/kvm-a/uncordon', { text: '' })).toMatchObject({ status: 200 });
  });

  it.each([
    ['POST', '/hosts/kvm-9/evacuate', 'UnknownHost'],
    ['POST', '/hosts/kvm-9/uncordon', 'UnknownHost'],
    ['GET', '/migrations/web-0000000000', 'UnknownMigration'],
    ['POST', '/migrations/web-0000000000/cancel', 'UnknownMigration'],
    ['GET', '/evacuations/evacuate-kvm-9-0000', 'UnknownEvacuation'],
  ] as const)('answers 404 to %s %s', async (method, path, code) => {
    expect(await plane().http(method, path)).toMatchObject({ status: 404, body: { code, status: 404 } });
  });

  it('answers 404 to a route it does not have', async () => {
    expect((await plane().http('GET', '/vms')).status).toBe(404);
    expect((await plane().http('PUT', '/migrations/web-1')).status).toBe(404);
  });

  it('is not for hosts, nor for strangers', async () => {
    for (const as of [plane().host('kvm-a').nodeId, 'stranger']) {
      expect((await plane().http('GET', '/hosts', { as })).status).toBe(403);
    }
  });
});
