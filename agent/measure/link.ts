import { mib } from '../../common/units.ts';
import type { KnownLink, Measurements } from '../../contract/forecast.ts';
import { fail, pass, type Verdict } from '../checks/check.ts';
import { LINK_TEST_PORT, type LinkResult } from '../host/link-test.ts';

/** The two preflights begin within a few seconds of each other; the rest is for other tests on the same host, half a second each. */
export const LINK_TEST_PATIENCE_MS = 15_000;

export type Link = Pick<Measurements, 'linkBytesPerSecond' | 'linkSource' | 'linkAgeSeconds'>;

/** The bandwidth measured now, or else the one known from an earlier migration. */
export function linkOf(result: LinkResult, known: KnownLink | undefined): Link | { why: string } {
  if ('bytesPerSecond' in result) {
    return { linkBytesPerSecond: result.bytesPerSecond, linkSource: 'measured', linkAgeSeconds: 0 };
  }
  if (known === undefined) return result;
  return { linkBytesPerSecond: known.bytesPerSecond, linkSource: 'known', linkAgeSeconds: known.ageSeconds };
}

export function checkLink(link: Link | { why: string }): Verdict {
  if ('why' in link) {
    return fail(
      `the bandwidth to the destination could not be measured (${link.why}), and is not known from an earlier migration`,
      `let TCP port ${LINK_TEST_PORT} of the destination, the last of the migration ports, through the firewall, and try again`,
    );
  }
  const { linkBytesPerSecond, linkSource, linkAgeSeconds } = link;
  const how = linkSource === 'measured' ? 'measured now' : `as it was ${Math.round(linkAgeSeconds / 60)} min ago`;
  return pass(`${mib(linkBytesPerSecond)}/s, ${how}`);
}
