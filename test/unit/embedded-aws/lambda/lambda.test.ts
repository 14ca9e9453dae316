import { beforeEach, describe, expect, it } from 'vitest';
import type { Caller } from '../../../../embedded-aws/core/service.ts';
import type { InProcessTransport } from '../../../../embedded-aws/endpoint/in-process.ts';
import { captureOutput } from '../../../../embedded-aws/lambda/captured-output.ts';
import { currentCaller, provideRuntime } from '../../../../embedded-aws/lambda/invocation.ts';
import { createLambda, type Lambda, type LambdaFunction } from '../../../../embedded-aws/lambda/lambda.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

const caller: Caller = { arn: 'arn:me', userId: 'me', statements: [] };

interface Runtime {
  client: { requestHandler: InProcessTransport };
  now(): number;
  uuid(): string;
}
const runtime = () => (globalThis as unknown as Record<symbol, Runtime>)[Symbol.for('embedded-aws.runtime')]!;

describe('Lambda', () => {
  let clock: VirtualClock;
  let stop: AbortController;
  let lambda: Lambda;
  let reports: string[];
  let lines: [group: string, stream: string, line: string][];
  let callers: (string | undefined)[];

  beforeEach(() => {
    clock = new VirtualClock();
    stop = new AbortController();
    reports = [];
    lines = [];
    callers = [];
    let ids = 0;
    provideRuntime('eu-north-1');
    lambda = createLambda({
      clock,
      random: () => 0.5,
      uuid: () => `id-${++ids}`,
      signal: stop.signal,
      callerForRole: (roleArn, session) => ({ arn: roleArn, userId: session, statements: [] }),
      log: (...line) => lines.push(line),
      report: (message) => reports.push(message),
      transport: {
        metadata: { handlerProtocol: 'http/1.1' },
        async handle() {
          callers.push(currentCaller()?.arn);
          return { response: { statusCode: 200, headers: {}, body: new Uint8Array() } };
        },
        updateHttpClientConfig() {},
        httpHandlerConfigs: () => ({}),
        destroy() {},
      },
    });
  });

  const put = (handler: LambdaFunction['handler'], name = 'work') =>
    lambda.put({
      name,
      arn: `arn:aws:lambda:eu-north-1:111122223333:function:${name}`,
      roleArn: `arn:role/${name}`,
      timeoutSeconds: 10,
      memoryMiB: 256,
      handler,
    });
  const request = { method: 'POST', path: '/', headers: {} };

  it('keeps what a function writes in its log group, and the error that it ends with', async () => {
    captureOutput();
    put(async () => {
      process.stdout.write('one\ntwo\n');
      throw new Error('no way');
    });
    await lambda.invoke('work', {});
    expect(lines).toEqual([
      ['/aws/lambda/work', 'id-1', 'one'],
      ['/aws/lambda/work', 'id-1', 'two'],
      ['/aws/lambda/work', 'id-1', expect.stringContaining('no way')],
    ]);
  });

  it('gives the function its event and a context, and answers with a copy of its result', async () => {
    const result = { list: [1], gone: undefined };
    put((event, context) => ({ event, context: { ...(context as object) }, result }));
    await expect(lambda.invoke('work', { a: 1 })).resolves.toMatchObject({
      payload: {
        event: { a: 1 },
        result: { list: [1] },
        context: {
          functionName: 'work',
          awsRequestId: 'id-1',
          memoryLimitInMB: '256',
          invokedFunctionArn: 'arn:aws:lambda:eu-north-1:111122223333:function:work',
        },
      },
    });
  });

  it('counts the remaining time down on the clock', async () => {
    const left: number[] = [];
    put(async (_, context) => {
      const { getRemainingTimeInMillis } = context as { getRemainingTimeInMillis(): number };
      left.push(getRemainingTimeInMillis());
      await clock.sleep(4_000);
      left.push(getRemainingTimeInMillis());
    });
    const answer = lambda.invoke('work', {});
    await clock.runUntilIdle();
    expect(await answer).toEqual({ payload: null });
    expect(left).toEqual([10_000, 6_000]);
  });

  it('answers with the error a function throws', async () => {
    put(() => {
      throw new RangeError('too far');
    });
    const { error } = await lambda.invoke('work', {});
    expect(error).toMatchObject({ errorType: 'RangeError', errorMessage: 'too far' });
    expect(error?.trace[0]).toBe('RangeError: too far');
  });

  it('gives up after the timeout, and lets the code that is left make no more calls', async () => {
    let late: unknown;
    put(async () => {
      await clock.sleep(15_000);
      late = await runtime()
        .client.requestHandler.handle(request)
        .catch((error: unknown) => error);
    });
    const answer = lambda.invoke('work', {});
    await clock.advance(10_000);
    expect(await answer).toMatchObject({
      error: {
        errorType: 'Sandbox.Timedout',
        errorMessage: 'RequestId: id-1 Error: Task timed out after 10.00 seconds',
      },
    });
    await clock.runUntilIdle();
    expect(late).toMatchObject({ message: 'work called AWS after its invocation had ended.' });
    expect(callers).toEqual([]);
  });

  it('knows which function calls, however they interleave', async () => {
    const handler = async () => {
      await runtime().client.requestHandler.handle(request);
      await clock.sleep(1_000);
      await runtime().client.requestHandler.handle(request);
    };
    put(handler, 'one');
    put(handler, 'two');
    const both = Promise.all([lambda.invoke('one', {}), lambda.invoke('two', {})]);
    await clock.runUntilIdle();
    await both;
    expect(callers).toEqual(['arn:role/one', 'arn:role/two', 'arn:role/one', 'arn:role/two']);
    expect(currentCaller()).toBeUndefined();
  });

  it("gives functions the embedded AWS's time and identifiers", async () => {
    put(() => [runtime().now(), runtime().uuid()]);
    expect(await lambda.invoke('work', {})).toEqual({ payload: [clock.now(), 'id-2'] });
  });

  it('forbids calls of AWS while a bundle is loaded', async () => {
    await expect(runtime().client.requestHandler.handle(request)).rejects.toThrow('while it was being loaded');
  });

  it('leaves no timer behind', async () => {
    put(() => 'done');
    await lambda.invoke('work', {});
    expect(clock.pending).toBe(0);
  });

  describe('Invoke', () => {
    const call = (input: Record<string, string>) => lambda.call('Invoke', { FunctionName: 'work', ...input }, caller);

    it('speaks JSON text', async () => {
      put((event) => event);
      expect(await call({ Payload: '{"x":[1]}' })).toEqual({
        StatusCode: 200,
        ExecutedVersion: '$LATEST',
        Payload: '{"x":[1]}',
      });
    });

    it('marks an error', async () => {
      put(() => Promise.reject(new Error('no')));
      const answer = await call({});
      expect(answer.FunctionError).toBe('Unhandled');
      expect(JSON.parse(String(answer.Payload))).toMatchObject({ errorType: 'Error', errorMessage: 'no' });
    });

    it('tries a failed event again after one minute and after two, then reports it', async () => {
      const attempts: number[] = [];
      put(() => {
        attempts.push(clock.now());
        throw new Error('no');
      });
      const start = clock.now();
      expect(await call({ InvocationType: 'Event' })).toEqual({ StatusCode: 202 });
      await clock.runUntilIdle();
      expect(attempts.map((at) => at - start)).toEqual([0, 60_000, 180_000]);
      expect(reports).toEqual(['work failed on an event, after all retries: Error: no']);
    });

    it('stops trying when stopped', async () => {
      put(() => Promise.reject(new Error('no')));
      await call({ InvocationType: 'Event' });
      await clock.settle();
      stop.abort();
      await clock.settle();
      expect(clock.pending).toBe(0);
    });

    it('asks for permission on the function, and fails on what is not there', () => {
      put(() => 1);
      const FunctionName = 'arn:aws:lambda:eu-north-1:111122223333:function:work';
      expect(lambda.requiredPermissions('Invoke', { FunctionName })).toEqual([
        { action: 'lambda:InvokeFunction', resource: FunctionName },
      ]);
      expect(() => lambda.requiredPermissions('Invoke', { FunctionName: 'none' })).toThrow('Function not found: none');
      expect(() => lambda.requiredPermissions('CreateFunction', {})).toThrow('lambda:CreateFunction');
    });
  });
});
