import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sharedCredentials } from '../../../agent/credentials.ts';
import { readEnvironment } from '../../../agent/environment.ts';

const GOOD = {
  AWS_REGION: 'eu-central-1',
  HANDOFF_MAILBOX_TABLE: 'Handoff-Mailbox-1A2B',
  HANDOFF_ROLE_ID: 'AROAEXAMPLE123456789',
  AWS_SSM_INSTANCE_ID: 'mi-0123456789abcdef0',
};

describe('the environment', () => {
  it('names the mailbox of this host', () => {
    expect(readEnvironment(GOOD)).toEqual({
      region: 'eu-central-1',
      table: 'Handoff-Mailbox-1A2B',
      mailbox: 'AROAEXAMPLE123456789:mi-0123456789abcdef0',
      hostId: undefined,
      runDirectory: '/run/handoff',
      localUri: 'qemu:///system',
      logFile: '/var/log/handoff/agent.jsonl',
      logMaxBytes: 10_485_760,
      launcher: undefined,
      resumeAlways: false,
    });
  });

  it.each([
    ['AWS_REGION', 'Frankfurt'],
    ['HANDOFF_MAILBOX_TABLE', 'a table'],
    ['HANDOFF_ROLE_ID', 'role/hosts'],
    ['AWS_SSM_INSTANCE_ID', 'host7'],
    ['HANDOFF_HOST_ID', 'Host 7'],
    ['HANDOFF_RUN_DIR', 'run'],
    ['HANDOFF_LOG_FILE', 'agent.jsonl'],
    ['HANDOFF_LOG_MAX_MIB', '0'],
    ['HANDOFF_LIBVIRT_URI', 'xen:///'],
    ['HANDOFF_LAUNCHER', 'cron'],
  ])('is refused when %s is "%s"', (name, value) => {
    expect(() => readEnvironment({ ...GOOD, [name]: value })).toThrow(
      expect.objectContaining({ exitCode: 78, message: expect.stringContaining(`${name} is "${value}"`) }),
    );
  });

  it('is refused with all that is missing, at once', () => {
    for (const name of Object.keys(GOOD)) {
      expect(() => readEnvironment({})).toThrow(
        expect.objectContaining({ exitCode: 78, message: expect.stringContaining(`${name} is not set`) }),
      );
    }
  });
});

describe('the shared credentials', () => {
  let folder: string;
  let file: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'handoff-credentials-'));
    file = join(folder, 'credentials');
  });
  afterAll(() => rm(folder, { recursive: true }));

  const section = (name: string, key: string) =>
    `[${name}]\n# rotated\naws_access_key_id = ${key}\naws_secret_access_key=secret+/=\naws_session_token = token==\n`;

  it('are read anew each time they are asked for', async () => {
    const provide = sharedCredentials({ AWS_SHARED_CREDENTIALS_FILE: file });
    await writeFile(file, `${section('other', 'AKIDOTHER')}${section('default', 'AKID1')}`);
    expect(await provide()).toMatchObject({
      accessKeyId: 'AKID1',
      secretAccessKey: 'secret+/=',
      sessionToken: 'token==',
    });
    await writeFile(file, section('default', 'AKID2'));
    expect((await provide()).accessKeyId).toBe('AKID2');
  });

  it('expire so that the SDK asks again within 5 minutes', async () => {
    await writeFile(file, section('default', 'AKID1'));
    const { expiration } = await sharedCredentials({ AWS_SHARED_CREDENTIALS_FILE: file })();
    // The SDK asks again 5 minutes before they expire.
    expect(expiration.getTime() - Date.now()).toBeLessThanOrEqual(10 * 60_000);
  });

  it('are those of AWS_PROFILE', async () => {
    await writeFile(file, `${section('default', 'AKID1')}${section('hosts', 'AKID2')}`);
    expect((await sharedCredentials({ AWS_SHARED_CREDENTIALS_FILE: file, AWS_PROFILE: 'hosts' })()).accessKeyId).toBe(
      'AKID2',
    );
  });

  it('that are not there are missed by file and profile', async () => {
    await writeFile(file, section('other', 'AKID1'));
    await expect(sharedCredentials({ AWS_SHARED_CREDENTIALS_FILE: file })()).rejects.toThrow(
      `${file} has no aws_access_key_id`,
    );
  });
});
