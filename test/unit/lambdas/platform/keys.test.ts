import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as keys from '../../../../lambdas/platform/control-keys.ts';
import {
  consoleUrl,
  executionArnOf,
  parseExecutionArn,
  parseExecutionName,
  recoveryName,
} from '../../../../lambdas/platform/execution-names.ts';

const MACHINE = 'arn:aws:states:eu-central-1:123456789012:stateMachine:handoff-recover';
const migrationIds = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_-]{2,79}$/);
const vms = fc.stringMatching(/^[a-z0-9][a-z0-9 ._:@+-]{0,30}$/);

describe('a key of the Control table', () => {
  it('of a lock has its VM', () => {
    fc.assert(
      fc.property(vms, (vm) => {
        expect(keys.vmOfLock(keys.lockKey(vm).pk)).toBe(vm);
      }),
    );
  });

  it('of a record, a host link or an event has its migration', () => {
    fc.assert(
      fc.property(migrationIds, (id) => {
        expect(keys.migrationIdOf(keys.migrationKey(id).pk)).toBe(id);
        expect(keys.migrationIdOf(keys.migrationHostKey(id, 'kvm-a').pk)).toBe(id);
        const event = keys.eventKey(id, '2026-01-01T00:00:00.000Z', 'x');
        expect(keys.migrationIdOf(event.pk)).toBe(id);
        expect(event.sk.startsWith(keys.EVENT_PREFIX)).toBe(true);
        expect(keys.requestKey(id, 'r').pk).toBe(keys.requestsOf(id));
      }),
    );
  });

  it('of another item is refused', () => {
    expect(() => keys.vmOfLock(keys.hostKey('kvm-a').pk)).toThrow('VM#');
    expect(() => keys.migrationIdOf(keys.requestsOf('web-1'))).toThrow('MIGRATION#');
  });

  it('of two items is never the same', () => {
    const all = [
      keys.hostKey('a'),
      keys.lockKey('a'),
      keys.migrationKey('a'),
      keys.migrationHostKey('a', 'a'),
      keys.eventKey('a', 'a', 'a'),
      keys.requestKey('a', 'a'),
      keys.linkKey('a', 'a'),
      keys.idempotencyKey('a'),
      keys.pendingCleanupKey('a', 'a'),
    ];
    expect(new Set(all.map(({ pk, sk }) => `${pk} ${sk}`)).size).toBe(all.length);
  });
});

describe("an execution's name", () => {
  it('has the migration, and the number of its recovery', () => {
    fc.assert(
      fc.property(migrationIds, fc.integer({ min: 1, max: 99 }), (migrationId, recovery) => {
        expect(parseExecutionName(migrationId)).toEqual({ migrationId, recovery: 0 });
        const name = recoveryName(migrationId, recovery);
        expect(parseExecutionName(name)).toEqual({ migrationId, recovery });
        expect(parseExecutionArn(executionArnOf(MACHINE, name))).toEqual({ region: 'eu-central-1', name });
      }),
    );
  });

  it('leads to the console of its region', () => {
    const arn = executionArnOf(MACHINE, 'web-1.2');
    expect(arn).toBe('arn:aws:states:eu-central-1:123456789012:execution:handoff-recover:web-1.2');
    expect(consoleUrl(arn)).toBe(
      `https://eu-central-1.console.aws.amazon.com/states/home?region=eu-central-1#/v2/executions/details/${arn}`,
    );
  });
});
