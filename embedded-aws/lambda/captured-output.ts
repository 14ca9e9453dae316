import { currentInvocation } from './invocation.ts';

const CAPTURED = Symbol.for('embedded-aws.captured-output');

/**
 * What function code writes to standard output or standard error goes to its invocation's log, line by line, as on Lambda. The
 * output of everything else in the process stays as it is.
 */
export function captureOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    if (CAPTURED in stream) continue;
    Object.assign(stream, { [CAPTURED]: true });
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    stream.write = (...args: unknown[]): boolean => {
      const invocation = currentInvocation();
      const [chunk] = args;
      if (invocation === undefined || typeof chunk !== 'string') return write(...args);
      for (const line of chunk.split('\n')) if (line !== '') invocation.log(line);
      const done = args.at(-1);
      if (typeof done === 'function') queueMicrotask(() => done());
      return true;
    };
  }
}
