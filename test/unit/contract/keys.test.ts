import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commitRecordKey, parseMailboxItem, reportKey, taskKey } from '../../../contract/mailbox.ts';
import {
  HostId,
  MigrationId,
  newEvacuationId,
  newMigrationId,
  parseRequestId,
  RequestId,
  Role,
  requestIdOf,
  StageName,
  VmName,
} from '../../../contract/names.ts';

const migrationIds = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_-]{2,79}$/);
const requests = fc.record({
  migrationId: migrationIds,
  stage: fc.constantFrom(...StageName.options),
  role: fc.constantFrom(...Role.options),
  attempt: fc.integer({ min: 1, max: 9_999 }),
});

describe('a request id', () => {
  it('is valid, and has the parts that it was made of', () => {
    fc.assert(
      fc.property(requests, (parts) => {
        const requestId = requestIdOf(parts.migrationId, parts.stage, parts.role, parts.attempt);
        expect(RequestId.safeParse(requestId).success).toBe(true);
        expect(parseRequestId(requestId)).toEqual(parts);
      }),
    );
  });

  it.each([
    '',
    'web',
    'web-1.precopy',
    'web-1.dance.source.1',
    'web-1.precopy.witness.1',
    'web-1.precopy.source.x',
    'a.b.c.d.e',
  ])('is not %j', (text) => expect(parseRequestId(text)).toBeUndefined());
});

describe('the id of', () => {
  it('a migration is valid for every VM', () => {
    const names = fc
      .string({ minLength: 1, maxLength: 128, unit: 'grapheme' })
      .filter((name) => VmName.safeParse(name).success);
    fc.assert(
      fc.property(fc.oneof(names, fc.constantFrom('ß', '-', 'web 01', 'x'.repeat(128))), fc.uuid(), (vm, uuid) => {
        expect(MigrationId.safeParse(newMigrationId(vm, uuid)).success).toBe(true);
      }),
    );
  });

  it('an evacuation is valid for every host', () => {
    const hosts = fc
      .stringMatching(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
      .filter((id) => HostId.safeParse(id).success);
    fc.assert(
      fc.property(hosts, fc.uuid(), (host, uuid) => {
        expect(MigrationId.safeParse(newEvacuationId(host, uuid)).success).toBe(true);
      }),
    );
  });
});

describe("a mailbox item's key", () => {
  it.each([
    ['task', taskKey],
    ['report', reportKey],
    ['commit', commitRecordKey],
  ] as const)('of a %s has the id that it was made of', (kind, keyOf) => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (id) => {
        expect(parseMailboxItem(keyOf('AROA:mi-1', id).sk)).toEqual({ kind, id });
      }),
    );
  });

  it('of another kind is not parsed', () => {
    expect(parseMailboxItem('OTHER#web-1')).toBeUndefined();
    expect(parseMailboxItem('TASK')).toBeUndefined();
  });
});
