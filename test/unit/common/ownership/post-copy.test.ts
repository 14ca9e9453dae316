import { describe, expect, it } from 'vitest';
import type { HostState } from '../../../../common/ownership/evidence.ts';
import { assessPostCopy, hasPostCopyBegun, POST_COPY_RULES } from '../../../../common/ownership/post-copy.ts';
import { HOST_STATES } from './host-states.ts';

const pairs = HOST_STATES.flatMap((source) => HOST_STATES.map((destination) => [source, destination] as const));

describe('a post-copy', () => {
  it.each([
    ['postcopy-paused', 'running', 'complete'],
    ['postcopy-failed', 'running', 'complete'],
    ['absent', 'running', 'complete'],
    ['postcopy-paused', 'postcopy-running', 'in-progress'],
    ['postcopy-failed', 'postcopy-failed', 'broken'],
    ['postcopy-failed', 'postcopy-running', 'broken'],
    ['postcopy-paused', 'postcopy-failed', 'unknown'],
    ['postcopy-paused', 'incoming', 'finish-missing'],
    ['postcopy-failed', 'absent', 'half-lost'],
    ['absent', 'postcopy-failed', 'half-lost'],
    ['running', 'absent', 'not-begun'],
    ['migrating-paused', 'absent', 'not-begun'],
    ['unreachable', 'postcopy-failed', 'unknown'],
    ['postcopy-failed', 'unreachable', 'unknown'],
  ] as const)('with source %s and destination %s is %s', (source, destination, expected) => {
    expect(assessPostCopy(source, destination)).toBe(expected);
  });

  it('is never complete, nor taken for not begun, while a half may be needed', () => {
    for (const [source, destination] of pairs) {
      const status = assessPostCopy(source, destination);
      if (status === 'complete') expect(destination).toBe('running');
      if (status === 'not-begun') {
        expect(['absent', 'shutoff']).toContain(destination);
        expect(source).not.toMatch(/^postcopy|unreachable/);
      }
      if (status === 'broken') expect(source).toBe('postcopy-failed');
      const waits = ['in-progress', 'unknown'];
      if (source === 'unreachable' && destination !== 'running') expect(waits).toContain(status);
      if (destination === 'unreachable') expect(waits).toContain(status);
    }
  });

  it('has no rule that never applies', () => {
    const statuses = new Set(pairs.map(([source, destination]) => assessPostCopy(source, destination)));
    expect(statuses).toEqual(new Set(POST_COPY_RULES.map(({ status }) => status)));
  });

  it.each([
    ['postcopy-paused', true],
    ['postcopy-failed', true],
    ['migrating-paused', false],
    ['running', false],
    ['absent', false],
    ['postcopy-running', false],
    ['unreachable', 'unknown'],
  ] satisfies [HostState, boolean | 'unknown'][])('with source %s has begun: %s', (source, expected) => {
    expect(hasPostCopyBegun(source)).toBe(expected);
  });
});
