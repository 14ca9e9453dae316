import { AwsError, type JsonObject } from '../core/service.ts';
import { invalid, optionalText } from './input.ts';

const DEFAULT_PAGE = 100;
const LARGEST_PAGE = 1_000;

/**
 * One page of a list that only ever grows at its end, by `maxResults` and `nextToken`, oldest or newest first. The token is the
 * position to go on from, so a page does not shift when the list grows meanwhile.
 */
export function page<T>(
  items: readonly T[],
  input: JsonObject,
  { newestFirst, only = () => true }: { newestFirst: boolean; only?: (item: T) => boolean },
): { page: T[]; nextToken?: string } {
  const size = pageSize(input);
  const step = newestFirst ? -1 : 1;
  const chosen: T[] = [];
  let index = position(input) ?? (newestFirst ? items.length - 1 : 0);
  for (; index >= 0 && index < items.length; index += step) {
    const item = items[index]!;
    if (!only(item)) continue;
    if (chosen.length === size) return { page: chosen, nextToken: Buffer.from(`at:${index}`).toString('base64') };
    chosen.push(item);
  }
  return { page: chosen };
}

function pageSize(input: JsonObject): number {
  const asked = input.maxResults ?? 0;
  if (typeof asked !== 'number' || !Number.isInteger(asked) || asked < 0 || asked > LARGEST_PAGE) {
    throw invalid(
      `Value '${asked}' at 'maxResults' failed to satisfy constraint: Member must be from 0 to ${LARGEST_PAGE}`,
    );
  }
  return asked === 0 ? DEFAULT_PAGE : asked;
}

function position(input: JsonObject): number | undefined {
  const token = optionalText(input, 'nextToken');
  if (token === undefined) return undefined;
  const [, index] = /^at:(\d+)$/.exec(Buffer.from(token, 'base64').toString()) ?? [];
  if (index === undefined) throw new AwsError('InvalidToken', "Invalid Token: 'Invalid token'");
  return Number(index);
}
