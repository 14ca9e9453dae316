import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { buildAgent } from '../agent/build.ts';
import { synthesize } from '../cdk/synthesize.ts';
import { type Access, ApiClient } from '../cli/api-client.ts';
import { type Clock, systemClock } from '../common/clock.ts';
import { type EmbeddedAws, startEmbeddedAws } from '../embedded-aws/embedded-aws.ts';
import { agentLogFile, credentialsFile, installAgent, type Lab } from './hosts/lab.ts';
import { exec } from './hosts/node.ts';
import { addressOf, type HostName, libvirtUriOf } from './hosts/plan.ts';

/** A lab whose hosts are managed nodes of an embedded AWS that runs the whole control plane. */
export interface ManagedLab {
  lab: Lab;
  aws: EmbeddedAws;
  access: Access;
  api: ApiClient;
  nodeIdOf(host: HostName): string;
  stop(): Promise<void>;
}

/**
 * Starts the embedded AWS from the synthesized template, installs the agent on the lab's hosts and registers them. `clock` is AWS's;
 * the hosts have the machine's.
 */
export async function startManagedLab(lab: Lab, { clock = systemClock }: { clock?: Clock } = {}): Promise<ManagedLab> {
  const [assembly, bundle] = await Promise.all([synthesize(), buildAgent()]);
  await installAgent(lab, bundle);
  const machine = addressOf(lab, 'machine');
  const aws = await startEmbeddedAws({
    assembly,
    clock,
    listen: { hosts: ['127.0.0.1', machine], port: 0 },
    ...(process.env.HANDOFF_LOG_LEVEL !== undefined && { logLevel: process.env.HANDOFF_LOG_LEVEL as 'INFO' }),
  });
  if (aws.apiUrl === undefined) throw new Error('the template has no HTTP API');
  const port = new URL(aws.apiUrl).port;
  const access: Access = {
    url: aws.apiUrl,
    region: aws.region,
    credentials: aws.adminCredentials,
    embedded: {
      endpoint: new URL(aws.apiUrl).origin,
      agentLogs: Object.fromEntries(lab.hosts.map((host) => [host, agentLogFile(lab, host)])),
    },
  };
  const api = new ApiClient(access);
  for (const host of lab.hosts) {
    const { credentials } = aws.registerNode(nodeIdOf(host), {
      run: async ({ script, env }, signal) => {
        const outcome = await exec(lab, host, ['sh', '-c', script], {
          // A libvirtd of the lab whose version crashes when a post-copy is resumed runs with a preloaded fix (hosts/post-copy-resume-preload.ts).
          env: { ...env, AWS_ENDPOINT_URL: `http://${machine}:${port}`, HANDOFF_POSTCOPY_RESUME: 'always' },
          signal,
        });
        return { exitCode: outcome.exitCode, stdout: outcome.stdout.toString(), stderr: outcome.stderr };
      },
    });
    await writeCredentials(credentialsFile(lab, host), credentials);
    await api.call('PUT', `/hosts/${host}`, {
      body: { nodeId: nodeIdOf(host), address: addressOf(lab, host), libvirtUri: libvirtUriOf(lab, host) },
    });
  }
  return { lab, aws, access, api, nodeIdOf, stop: () => aws.stop() };
}

/** An id of the form managed nodes have, one for each host. */
const nodeIdOf = (host: HostName): string => `mi-${host.slice('kvm'.length).padStart(17, '0')}`;

/** As the SSM agent does on a real node. */
async function writeCredentials(
  file: string,
  credentials: { accessKeyId: string; secretAccessKey: string },
): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const lines = [
    '[default]',
    `aws_access_key_id = ${credentials.accessKeyId}`,
    `aws_secret_access_key = ${credentials.secretAccessKey}`,
  ];
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600 });
}
