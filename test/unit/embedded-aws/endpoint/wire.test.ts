import { createConnection } from 'node:net';
import { crc32 } from 'node:zlib';
import { XMLParser } from 'fast-xml-parser';
import { describe, expect, it } from 'vitest';
import { AwsError, type Caller } from '../../../../embedded-aws/core/service.ts';
import { listen } from '../../../../embedded-aws/endpoint/listen.ts';
import { createWire } from '../../../../embedded-aws/endpoint/wire.ts';
import type { WireRequest } from '../../../../embedded-aws/endpoint/wire-format.ts';
import { ACCOUNT } from '../dynamodb/fixture.ts';

const operator: Caller = { arn: 'arn:aws:iam::123456789012:user/<o&o>', userId: 'AIDAOPERATOR', statements: [] };

const wire = createWire({
  account: ACCOUNT,
  call: async (service, operation, input) => {
    if (operation === 'Broken') throw new TypeError('a fault');
    if (operation === 'Refused') throw new AwsError('SomeException', 'no', 409, { Detail: 'x' });
    return { service, operation, input };
  },
  callerForAccessKey: (accessKey) => (accessKey === 'KEY' ? operator : undefined),
  httpApi: async (request, caller) => ({
    status: 201,
    headers: { 'content-type': 'text/plain' },
    body: `${request.method} ${request.path}?${request.query} ${request.headers['x-note']} ${request.body} ${caller.userId}`,
  }),
});

const authorization = (accessKey: string) =>
  `AWS4-HMAC-SHA256 Credential=${accessKey}/20260101/eu-central-1/any/aws4_request, SignedHeaders=host, Signature=0`;

function request({ headers, ...more }: Partial<WireRequest> = {}): WireRequest {
  const signed = { authorization: authorization('KEY'), ...headers };
  return { method: 'POST', path: '/', query: '', body: '{}', ...more, headers: signed };
}

const target = (name: string, version = '1.0') => ({
  'x-amz-target': name,
  'content-type': `application/x-amz-json-${version}`,
});

describe('AWS JSON', () => {
  it.each([
    ['AWSStepFunctions', '1.0', 'states'],
    ['DynamoDB_20120810', '1.0', 'dynamodb'],
    ['AmazonSSM', '1.1', 'ssm'],
    ['AWSEvents', '1.1', 'events'],
  ])('%s is %s of %s', async (prefix, version, service) => {
    const answer = await wire(request({ headers: target(`${prefix}.Do`, version), body: '{"a":"ü"}' }));
    expect(JSON.parse(answer.body)).toEqual({ service, operation: 'Do', input: { a: 'ü' } });
    expect(answer).toMatchObject({
      status: 200,
      headers: {
        'content-type': `application/x-amz-json-${version}`,
        'x-amz-crc32': `${crc32(Buffer.from(answer.body))}`,
        'x-amzn-requestid': expect.any(String),
      },
    });
  });

  it('carries an error with its status and members', async () => {
    const answer = await wire(request({ headers: target('AmazonSSM.Refused') }));
    expect(answer.status).toBe(409);
    expect(JSON.parse(answer.body)).toEqual({ __type: 'com.amazonaws.ssm#SomeException', message: 'no', Detail: 'x' });
  });

  it.each<[string, Partial<WireRequest>, string]>([
    ['an unknown target', { headers: target('TrentService.Encrypt') }, 'UnknownOperationException'],
    ['no operation', { headers: target('AmazonSSM') }, 'UnknownOperationException'],
    ['a body that is not JSON', { headers: target('AmazonSSM.Do'), body: '{' }, 'SerializationException'],
    ['a body that is no object', { headers: target('AmazonSSM.Do'), body: '[]' }, 'SerializationException'],
    [
      'an unknown access key',
      { headers: { ...target('AmazonSSM.Do'), authorization: authorization('OTHER') } },
      'UnrecognizedClientException',
    ],
  ])('refuses %s', async (_, more, code) => {
    const answer = await wire(request(more));
    expect([answer.status, JSON.parse(answer.body).__type.split('#')[1]]).toEqual([400, code]);
  });

  it('refuses a request without authorization', async () => {
    const answer = await wire({ ...request(), headers: target('AmazonSSM.Do') });
    expect(JSON.parse(answer.body)).toEqual({
      __type: 'com.amazonaws.ssm#MissingAuthenticationTokenException',
      message: 'Request is missing Authentication Token',
    });
  });
});

describe('STS', () => {
  const form = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' };
  const parsed = (body: string) => new XMLParser({ parseTagValue: false }).parse(body);

  it('says who is asking', async () => {
    const answer = await wire(request({ headers: form, body: 'Action=GetCallerIdentity&Version=2011-06-15' }));
    expect(parsed(answer.body).GetCallerIdentityResponse.GetCallerIdentityResult).toEqual({
      Arn: 'arn:aws:iam::123456789012:user/<o&o>',
      UserId: 'AIDAOPERATOR',
      Account: ACCOUNT,
    });
  });

  it.each([
    ['AssumeRole', 'KEY', 501, 'NotImplemented'],
    ['GetCallerIdentity', 'OTHER', 403, 'InvalidClientTokenId'],
  ])('answers %s of %s with %i %s', async (action, accessKey, status, code) => {
    const headers = { ...form, authorization: authorization(accessKey) };
    const answer = await wire(request({ headers, body: `Action=${action}` }));
    expect([answer.status, parsed(answer.body).ErrorResponse.Error.Code]).toEqual([status, code]);
  });
});

describe('the HTTP API', () => {
  it('gets everything else, with its caller', async () => {
    const answer = await wire(
      request({ method: 'GET', path: '/migrations', query: 'a=1&a=2', headers: { 'x-note': 'n' } }),
    );
    expect(answer).toMatchObject({ status: 201, body: 'GET /migrations?a=1&a=2 n {} AIDAOPERATOR' });
  });

  it.each([{ authorization: authorization('OTHER') }, { authorization: 'Bearer x' }, {}])(
    'is closed to %o',
    async (headers) => {
      const answer = await wire({ ...request({ path: '/migrations' }), headers });
      expect([answer.status, answer.body]).toEqual([403, '{"message":"Forbidden"}']);
    },
  );
});

describe('listen', () => {
  it('serves several addresses on one port, as the wire has it', async () => {
    const listener = await listen(wire, { hosts: ['127.0.0.1', '127.0.0.2'], port: 0 });
    const answers = ['127.0.0.1', '127.0.0.2'].map(async (host) => {
      const headers = { authorization: authorization('KEY'), 'x-note': 'n' };
      const url = `http://${host}:${listener.port}/vms/web%2001?x=%3F`;
      const answer = await fetch(url, { method: 'PUT', body: 'ü', headers });
      return [answer.status, answer.headers.get('content-type'), await answer.text()];
    });
    const expected = [201, 'text/plain', 'PUT /vms/web%2001?x=%3F n ü AIDAOPERATOR'];
    expect(await Promise.all(answers)).toEqual([expected, expected]);
    await listener.close();
    await expect(fetch(`http://127.0.0.1:${listener.port}/`)).rejects.toThrow();
  });

  it('answers what is under way before it closes', async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let arrived = () => {};
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const listener = await listen(
      async () => {
        arrived();
        await held;
        return { status: 200, headers: {}, body: 'late' };
      },
      { hosts: ['127.0.0.1'], port: 0 },
    );
    const answer = fetch(`http://127.0.0.1:${listener.port}/`).then((response) => response.text());
    await arrival;
    const closed = listener.close();
    release();
    expect(await answer).toBe('late');
    await closed;
  });

  it('says which address cannot be had, and leaves none open', async () => {
    const first = await listen(wire, { hosts: ['127.0.0.2'], port: 0 });
    const both = { hosts: ['127.0.0.1', '127.0.0.2'], port: first.port };
    await expect(listen(wire, both)).rejects.toMatchObject({ code: 'EADDRINUSE', address: '127.0.0.2' });
    await expect(fetch(`http://127.0.0.1:${first.port}/`)).rejects.toThrow();
    await first.close();
  });

  it('answers a fault of its own with 500 and survives a client that breaks off', async () => {
    const faults: unknown[] = [];
    const report = console.error;
    console.error = (fault: unknown) => faults.push(fault);
    const listener = await listen(wire, { hosts: ['127.0.0.1'], port: 0 });
    try {
      const socket = createConnection(listener.port, '127.0.0.1');
      socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf');
      await new Promise((resolve) => socket.once('ready', resolve));
      socket.resetAndDestroy();
      const headers = { authorization: authorization('KEY'), ...target('AmazonSSM.Broken') };
      const answer = await fetch(`http://127.0.0.1:${listener.port}/`, { method: 'POST', body: '{}', headers });
      expect([answer.status, await answer.json()]).toEqual([
        500,
        { __type: 'InternalFailure', message: 'The embedded AWS failed: TypeError: a fault' },
      ]);
      expect(faults).toEqual([new TypeError('a fault')]);
    } finally {
      console.error = report;
      await listener.close();
    }
  });
});
