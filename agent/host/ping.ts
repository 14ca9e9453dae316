import { type ChildProcess, spawn } from 'node:child_process';
import { PROBE_INTERVAL_MS, PROBE_LIMIT_MS, type Probe, type ProbeResult } from './probe.ts';

/** `ping` prints its summary at once; a process that hangs is killed after this time. */
const SUM_UP_MS = 500;

/**
 * Starts `ping`. Returns at once, and never throws. When the process that started it is killed, `ping` ends too: its next answer goes into
 * a pipe without a reader, and without answers it ends after its last request.
 */
export function startPing(address: string): Probe {
  const output = new PingOutput();
  // A count, because with a time limit (-w) `ping` ends at the first "host unreachable" during a switch.
  const count = PROBE_LIMIT_MS / PROBE_INTERVAL_MS;
  const args = ['-n', '-D', '-i', `${PROBE_INTERVAL_MS / 1_000}`, '-c', `${count}`, address];
  const child = spawn('ping', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    // `ping` prints and parses numbers in the format of the locale.
    env: { ...process.env, LC_ALL: 'C' },
  });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let trouble = '';
  child.on('error', (error) => {
    trouble = `ping could not be started: ${error.message}`;
  });
  const listeners = new Set<() => void>();
  child.stdout.on('data', (chunk: Buffer) => {
    const before = output.answers.length;
    output.push(chunk.toString('latin1'));
    if (output.answers.length > before) for (const heard of [...listeners]) heard();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    trouble = chunk.toString('utf8').trim().split('\n').at(-1) ?? trouble;
  });
  const end = () => void child.kill('SIGKILL');
  process.once('exit', end);
  void closed.then(() => process.off('exit', end));
  return {
    get firstAnswerAt() {
      return output.answers[0];
    },
    get lastAnswerAt() {
      return output.answers.at(-1);
    },
    onAnswer(heard) {
      listeners.add(heard);
      return () => void listeners.delete(heard);
    },
    async stop(): Promise<ProbeResult> {
      await ended(child, closed);
      const said = trouble || output.trouble;
      return { answers: output.answers, sent: output.sent, ...(said !== '' && { trouble: said }) };
    },
  };
}

/** On SIGINT `ping` prints its summary. */
async function ended(child: ChildProcess, closed: Promise<void>): Promise<void> {
  child.kill('SIGINT');
  const timer = setTimeout(() => child.kill('SIGKILL'), SUM_UP_MS);
  await closed;
  clearTimeout(timer);
}

/** Parses the output of iputils' `ping -D` as it arrives. */
export class PingOutput {
  readonly answers: number[] = [];
  /** The last ICMP error of a router or of this host, such as "Destination Host Unreachable". */
  trouble = '';
  #sent = 0;
  #rest = '';

  /** From the summary; without one, the greatest sequence number of an answer. */
  get sent(): number {
    return this.#sent;
  }

  push(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    const answer = /^\[(\d+\.\d+)\] \d+ bytes from \S+ icmp_seq=(\d+) .*time=/.exec(line);
    if (answer !== null) {
      this.#sent = Math.max(this.#sent, Number(answer[2]));
      if (!line.includes('(DUP!)')) this.answers.push(Number(answer[1]) * 1_000);
      return;
    }
    const refused = /^\[\S+\] (From \S+) icmp_seq=\d+ (.+)$/.exec(line);
    if (refused !== null) this.trouble = `${refused[1]}: ${refused[2]}`;
    const sums = /^(\d+) packets transmitted/.exec(line);
    if (sums !== null) this.#sent = Number(sums[1]);
  }
}
