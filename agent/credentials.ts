import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

export interface SharedCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  expiration: Date;
}

/**
 * The SDK asks for credentials again within 5 minutes of their expiry. With this lifetime the file is read again every 5 minutes.
 */
const LIFETIME_MS = 10 * 60_000;

/**
 * The credentials that the SSM agent writes for the managed node, and rotates about every hour. The SDK's file provider reads the file once;
 * a mover runs for hours, so this provider reads it again.
 */
export function sharedCredentials(
  env: Record<string, string | undefined> = process.env,
): () => Promise<SharedCredentials> {
  const file = env.AWS_SHARED_CREDENTIALS_FILE || join(homedir(), '.aws', 'credentials');
  const profile = env.AWS_PROFILE || 'default';
  return async () => {
    const values = section(await readFile(file, 'utf8'), profile);
    const accessKeyId = values.get('aws_access_key_id');
    const secretAccessKey = values.get('aws_secret_access_key');
    if (accessKeyId === undefined || secretAccessKey === undefined) {
      throw new Error(
        `${file} has no aws_access_key_id and aws_secret_access_key in profile "${profile}"; the SSM agent writes them for a managed node`,
      );
    }
    const sessionToken = values.get('aws_session_token');
    return {
      accessKeyId,
      secretAccessKey,
      ...(sessionToken !== undefined && { sessionToken }),
      expiration: new Date(Date.now() + LIFETIME_MS),
    };
  };
}

/** The keys of one section of an INI file as AWS tools write it: `[name]`, `key = value`, `#` and `;` comments. */
function section(text: string, name: string): Map<string, string> {
  const values = new Map<string, string>();
  let inside = false;
  for (const line of text.split('\n').map((l) => l.trim())) {
    if (line.startsWith('#') || line.startsWith(';')) continue;
    const header = /^\[\s*(.*?)\s*\]$/.exec(line);
    if (header !== null) inside = header[1] === name;
    else if (inside) {
      const [, key, value] = /^([^=\s]+)\s*=\s*(.*)$/.exec(line) ?? [];
      if (key !== undefined && value !== undefined) values.set(key.toLowerCase(), value);
    }
  }
  return values;
}
