import { afterEach, expect, it, vi } from 'vitest';
import { logFieldsOf, logger, powertoolsLogger, withLogFields } from '../../../../lambdas/platform/log.ts';

afterEach(() => vi.restoreAllMocks());

it.each([
  ['a state’s input', { migrationId: 'web-1', stage: 'precopy' }, { migrationId: 'web-1' }],
  ['a request of the API', { pathParameters: { hostId: 'kvm1' } }, { hostId: 'kvm1' }],
  [
    'a request id',
    { requestId: 'web-1.verify.source.1' },
    { migrationId: 'web-1', requestId: 'web-1.verify.source.1' },
  ],
  ['an event of an execution of Migrate', { detail: { name: 'web-1' } }, { migrationId: 'web-1' }],
  ['an event of an execution of Recover', { detail: { name: 'web-1.2' } }, { migrationId: 'web-1' }],
  ['a scheduled event', { detail: {} }, {}],
  ['no object', undefined, {}],
])('reads the fields of a log line from %s', (_, event, expected) => {
  expect(logFieldsOf(event)).toEqual(expected);
});

it('adds each record’s fields to its own lines when records are processed at once', async () => {
  const info = vi.spyOn(powertoolsLogger, 'info').mockReturnValue();
  await Promise.all(
    ['web-1', 'web-2'].map((migrationId) =>
      withLogFields({ migrationId }, async () => {
        await Promise.resolve();
        withLogFields({ hostId: 'kvm1' }, () => logger.info(`of ${migrationId}`, { more: 1 }));
      }),
    ),
  );
  expect(info.mock.calls).toEqual([
    ['of web-1', { migrationId: 'web-1', hostId: 'kvm1', more: 1 }],
    ['of web-2', { migrationId: 'web-2', hostId: 'kvm1', more: 1 }],
  ]);
});
