import { beforeEach, describe, expect, it } from 'vitest';
import type { Caller, Json } from '../../../../embedded-aws/core/service.ts';
import type { WireRequest } from '../../../../embedded-aws/endpoint/wire-format.ts';
import { createHttpApi } from '../../../../embedded-aws/http-api/http-api.ts';
import { authorize } from '../../../../embedded-aws/iam/authorize.ts';
import type { InvokeResult } from '../../../../embedded-aws/lambda/lambda.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

const FUNCTION = 'arn:aws:lambda:eu-north-1:111122223333:function:api';
const callerWith = (Resource: string): Caller => ({
  arn: 'arn:aws:sts::111122223333:assumed-role/Operator/ann',
  userId: 'AROA:ann',
  statements: [{ Effect: 'Allow', Action: 'execute-api:Invoke', Resource }],
});
const operator = callerWith('arn:aws:execute-api:eu-north-1:111122223333:abc/$default/*');

describe('the HTTP API', () => {
  let clock: VirtualClock;
  let events: Json[];
  let answer: () => Promise<InvokeResult>;

  beforeEach(() => {
    clock = new VirtualClock();
    events = [];
    answer = async () => ({ payload: { ok: true } });
  });

  function request(change: Partial<WireRequest> = {}, caller = operator) {
    const handle = createHttpApi({
      clock,
      uuid: () => 'request-1',
      region: 'eu-north-1',
      account: '111122223333',
      authorize,
      invoke: async (functionArn, payload) => {
        expect(functionArn).toBe(FUNCTION);
        events.push(payload);
        return answer();
      },
      apiId: 'abc',
      stage: '$default',
      routes: [
        { routeKey: 'POST /hosts/{hostId}', integrationId: 'i1' },
        { routeKey: 'GET /hosts', integrationId: 'i1' },
      ],
      integrations: new Map([['i1', FUNCTION]]),
    });
    return handle({ method: 'GET', path: '/hosts', query: '', headers: {}, body: '', ...change }, caller);
  }

  it('gives the function an event of payload format 2.0', async () => {
    await request({
      method: 'POST',
      path: '/hosts/kvm%201',
      query: 'tag=a&tag=b&q=x%20y',
      headers: {
        host: 'abc.example',
        'content-type': 'application/json; charset=utf-8',
        'user-agent': 'curl',
        cookie: 'a=1; b=2',
      },
      body: '{"x":1}',
    });
    expect(events).toEqual([
      {
        version: '2.0',
        routeKey: 'POST /hosts/{hostId}',
        rawPath: '/hosts/kvm%201',
        rawQueryString: 'tag=a&tag=b&q=x%20y',
        cookies: ['a=1', 'b=2'],
        headers: { host: 'abc.example', 'content-type': 'application/json; charset=utf-8', 'user-agent': 'curl' },
        queryStringParameters: { tag: 'a,b', q: 'x y' },
        pathParameters: { hostId: 'kvm 1' },
        requestContext: {
          accountId: '111122223333',
          apiId: 'abc',
          authorizer: {
            iam: {
              accountId: '111122223333',
              callerId: 'AROA:ann',
              cognitoIdentity: null,
              principalOrgId: null,
              userArn: operator.arn,
              userId: 'AROA:ann',
            },
          },
          domainName: 'abc.example',
          domainPrefix: 'abc',
          http: {
            method: 'POST',
            path: '/hosts/kvm%201',
            protocol: 'HTTP/1.1',
            sourceIp: '127.0.0.1',
            userAgent: 'curl',
          },
          requestId: 'request-1',
          routeKey: 'POST /hosts/{hostId}',
          stage: '$default',
          time: '01/Jan/2026:00:00:00 +0000',
          timeEpoch: clock.now(),
        },
        body: '{"x":1}',
        isBase64Encoded: false,
      },
    ]);
  });

  it('leaves out what the request does not have', async () => {
    await request();
    expect(Object.keys(events[0] as object)).not.toEqual(
      expect.arrayContaining(['body', 'cookies', 'pathParameters', 'queryStringParameters']),
    );
  });

  it.each([
    ['text/plain', 'x=1', false],
    ['application/xml', 'x=1', false],
    ['application/x-www-form-urlencoded', 'eD0x', true],
    ['application/octet-stream', 'eD0x', true],
  ])('hands over a body of %s as %s', async (contentType, body, isBase64Encoded) => {
    await request({ method: 'POST', path: '/hosts/a', headers: { 'content-type': contentType }, body: 'x=1' });
    expect(events[0]).toMatchObject({ body, isBase64Encoded });
  });

  it.each<[what: string, payload: Json, expected: object]>([
    [
      'a whole response',
      { statusCode: 201, headers: { 'Content-Type': 'application/json', 'X-N': 1 }, body: '{}' },
      { status: 201, headers: { 'content-type': 'application/json', 'x-n': '1' }, body: '{}' },
    ],
    ['a status alone', { statusCode: 204 }, { status: 204, body: '' }],
    [
      'any other object',
      { items: [] },
      { status: 200, headers: { 'content-type': 'application/json' }, body: '{"items":[]}' },
    ],
    ['text', 'hello', { status: 200, body: 'hello' }],
    ['a status that is none', { statusCode: 'fine' }, { status: 500, body: '{"message":"Internal Server Error"}' }],
  ])('answers with %s', async (_, payload, expected) => {
    answer = async () => ({ payload });
    expect(await request()).toMatchObject(expected);
  });

  it('answers 500 when the function fails', async () => {
    answer = async () => ({ error: { errorType: 'Error', errorMessage: 'secret', trace: [] } });
    expect(await request()).toMatchObject({ status: 500, body: '{"message":"Internal Server Error"}' });
  });

  it('answers 503 when the function takes longer than 30 seconds', async () => {
    answer = () => new Promise(() => {});
    const response = request();
    await clock.advance(30_000);
    expect(await response).toMatchObject({ status: 503 });
  });

  it('answers 404 where there is no route', async () => {
    expect(await request({ path: '/other' })).toMatchObject({ status: 404, body: '{"message":"Not Found"}' });
  });

  it("asks IAM for execute-api:Invoke on the request's own method and path", async () => {
    const reader = callerWith('arn:aws:execute-api:eu-north-1:111122223333:abc/$default/GET/*');
    expect(await request({}, reader)).toMatchObject({ status: 200 });
    const post = { method: 'POST', path: '/hosts/a' };
    expect(await request(post, reader)).toMatchObject({ status: 403, body: '{"message":"Forbidden"}' });
    expect(events).toHaveLength(1);
  });

  it('leaves no timer behind', async () => {
    await request();
    expect(clock.pending).toBe(0);
  });
});
