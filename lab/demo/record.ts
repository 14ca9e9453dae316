/** `npm run demo:record`: runs the demo and draws what it printed as docs/media/demo.svg. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { terminalSvg } from './terminal-svg.ts';

const DEMO = new URL('./main.ts', import.meta.url).pathname;
const OUTPUT = new URL('../../docs/media/demo.svg', import.meta.url);

const lines = (await runDemo()).trimEnd().split('\n');
const { hypervisor } = JSON.parse(lines.pop() ?? '{}') as { hypervisor?: 'libvirt' | 'simulated' };
const hosts = hypervisor === 'libvirt' ? 'two libvirt hosts on one machine' : 'SIMULATED hosts';
const caption = `recorded by "npm run demo:record" on ${new Date().toISOString().slice(0, 10)}, ${hosts}`;
writeFileSync(OUTPUT, terminalSvg(['$ npm run demo', ...lines], caption));

/** Both streams, in the order they were written. Rejects when the demo fails. */
function runDemo(): Promise<string> {
  return new Promise((resolve, reject) => {
    const demo = spawn(process.execPath, [DEMO, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [demo.stdout, demo.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk;
        process.stderr.write(chunk);
      });
    }
    demo.on('error', reject);
    demo.on('close', (code) => (code === 0 ? resolve(output) : reject(new Error(`the demo ended with ${code}`))));
  });
}
