import { describe, expect, it } from 'vitest';
import { findLeaks, type Held, type Owner, SETTLING_MS } from '../../../../lambdas/recovery/leaks.ts';

const NOW = Date.parse('2026-03-01T12:00:00Z');
const RESOURCES: Held['resource'][] = [
  'lock',
  'outgoing slot',
  'incoming slot',
  'queue position',
  'memory',
  'evacuation',
  'commit record',
];
const ended = (how: string, ago = SETTLING_MS): Owner => ({
  state: 'ended',
  at: NOW - ago,
  how,
  needsOperator: how === 'NEEDS_OPERATOR',
});

describe.each(RESOURCES)('a %s', (resource) => {
  const verdict = (owner: Owner | undefined) => {
    const leaks = findLeaks([{ resource, of: 'x', owner: 'me' }], new Map(owner && [['me', owner]]), NOW);
    return leaks.map(({ proven }) => (proven ? 'leak' : 'said'));
  };

  it.each([
    ['is at work', { state: 'at work' }, []],
    ['succeeded', ended('SUCCEEDED'), ['leak']],
    ['failed', ended('FAILED'), ['leak']],
    ['was cancelled', ended('CANCELLED'), ['leak']],
    ['ended a moment ago and may still give back', ended('FAILED', SETTLING_MS - 1), []],
    ['is not known', { state: 'unknown' }, ['said']],
    ['was not looked up', undefined, ['said']],
  ] as const)('whose owner %s', (_, owner, expected) => {
    expect(verdict(owner)).toEqual(expected);
  });

  it('whose owner needs an operator stays only if it is the lock', () => {
    expect(verdict(ended('NEEDS_OPERATOR'))).toEqual(resource === 'lock' ? [] : ['leak']);
  });
});

it('says what is held, of what, by whom and why', () => {
  const held: Held[] = [
    { resource: 'memory', of: 'kvm-a', owner: 'web-1' },
    { resource: 'lock', of: 'web', owner: 'web-2' },
  ];
  expect(findLeaks(held, new Map([['web-1', ended('FAILED', 3_600_000)]]), NOW)).toEqual([
    { ...held[0], why: 'its owner ended FAILED at 2026-03-01T11:00:00.000Z', proven: true },
    { ...held[1], why: 'its owner is not known', proven: false },
  ]);
});
