import { setTimeout as sleep } from 'node:timers/promises';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, PutCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ApiProblem } from '../../cli/api-client.ts';
import type { AuditFinding, MigrationEnded, MigrationView } from '../../contract/api.ts';
import { commitRecordKey } from '../../contract/mailbox.ts';
import { migrate } from '../../lab/clients/migrations.ts';
import { type AwsCall, FaultTestbed } from '../../lab/faults/fault-testbed.ts';
import { leaksOf } from '../../lab/faults/leaks.ts';
import { isCommit } from '../../lab/faults/phases.ts';
import { stateOn } from '../../lab/guest/domain-state.ts';
import { guestStatus } from '../../lab/guest/guests.ts';
import { execText } from '../../lab/hosts/node.ts';
import { until } from '../../lab/hosts/until.ts';
import type { ManagedLab } from '../../lab/managed-lab.ts';
import { describeWithManagedLab } from './support/describe-with-managed-lab.ts';
import { handoff } from './support/handoff-command.ts';
import { LeapingClock } from './support/leaping-clock.ts';
import { count, MigrationUnderTest } from './support/migration-under-test.ts';

const clock = new LeapingClock();

/** Beyond the next sweep, and beyond the time within which it leaves what was stopped to the event. */
const SWEEP_SECONDS = 400;
/** For so long recovery waits for a host that it must hear of. */
const PATIENCE_SECONDS = 15 * 60;
/** An owner that ended less than two minutes ago may still be giving back. */
const SETTLING_SECONDS = 150;

/**
 * Not the hosts fail, but the control plane: executions are stopped by hand, events get lost, AWS is out of reach, something is left
 * held. With real hosts, guests and agents; AWS's long waits are cut short by its clock.
 */
describeWithManagedLab(
  'when the control plane fails',
  (its) => {
    let managed: ManagedLab;
    let testbed: FaultTestbed;
    let latest: MigrationUnderTest | undefined;
    beforeAll(async () => {
      managed = its();
      testbed = await FaultTestbed.on(managed);
    });
    afterEach(async () => {
      vi.restoreAllMocks();
      vi.unstubAllEnvs();
      testbed.observe();
      for (const host of testbed.lab.hosts) await testbed.restoreAws(host);
      await latest?.stopMonitor();
    });
    afterAll(() => testbed?.stop());

    const begin = async (): Promise<MigrationUnderTest> => {
      latest = await MigrationUnderTest.start(testbed, clock);
      return latest;
    };
    const startHeld = async (): Promise<MigrationUnderTest> => {
      latest = await MigrationUnderTest.startHeld(testbed, clock);
      return latest;
    };
    const audit = async (...options: string[]) => {
      const { exitCode, answer } = await handoff<{ findings: AuditFinding[] }>(managed, 'audit', ...options);
      return { exitCode, findings: answer.findings };
    };
    const cancel = (id: string): Promise<{ status: string }> => managed.api.call('POST', `/migrations/${id}/cancel`);
    const cutover = (id: string) => managed.api.call('POST', `/migrations/${id}/cutover`);
    const problemOf = (request: Promise<unknown>) =>
      request.then(
        () => 'accepted',
        (error: ApiProblem) => error.problem,
      );

    describe('an execution stopped from the console', () => {
      type AtCommit = (then: () => Promise<void>) => Promise<void>;
      /** Each stops it at its moment, and says how that ends. */
      const moments: Record<
        string,
        (migration: MigrationUnderTest, atCommit: AtCommit) => Promise<Parameters<MigrationUnderTest['isSettled']>[0]>
      > = {
        'in the middle of the copy': async (migration) => {
          await migration.copies();
          expect(await migration.moverRuns()).toBe(true);
          await migration.stopExecution();
          return { status: 'FAILED', runsOn: migration.from, failure: { code: 'ExecutionStopped' } };
        },
        'after the commit': async (migration, atCommit) => {
          const { executionArn } = await migration.show();
          await atCommit(() => migration.stopExecution(executionArn));
          return { status: 'SUCCEEDED', runsOn: migration.to, warning: { code: 'ExecutionStopped' } };
        },
        'after the commit, and the mover dies with it': async (migration, atCommit) => {
          await atCommit(async () => {
            await migration.killMover();
            await migration.stopExecution();
          });
          return { status: 'FAILED', runsOn: migration.from, failure: { code: 'ExecutionStopped' } };
        },
      };
      const isEventOfItsEnd = ({ service, operation, input }: AwsCall) =>
        service === 'lambda' &&
        operation === 'Invoke' &&
        String(input.FunctionName).endsWith(':handoff-on-execution-stopped');

      it.each<[moment: string, event: 'is told' | 'gets lost']>([
        ['in the middle of the copy', 'is told'],
        ['after the commit', 'is told'],
        ['after the commit, and the mover dies with it', 'is told'],
        ['in the middle of the copy', 'gets lost'],
        ['after the commit', 'gets lost'],
      ])('%s is recovered from, where its end %s', async (moment, event) => {
        const committed = Promise.withResolvers<() => void>();
        let lost = 0;
        testbed.observe(async (call, next) => {
          if (event === 'gets lost' && isEventOfItsEnd(call)) {
            lost += 1;
            return { StatusCode: 202 };
          }
          if (!isCommit(call)) return next();
          const answer = await next();
          await new Promise<void>((resolve) => committed.resolve(resolve));
          return answer;
        });
        const migration = await begin();
        const expected = await moments[moment]!(migration, async (then) => {
          const goOn = await committed.promise;
          await then();
          goOn();
        });
        if (event === 'gets lost') {
          await until('the event is lost', () => lost === 1);
          expect(count((await migration.show()).timeline, 'stopped execution resumed')).toBe(0);
          clock.leap(SWEEP_SECONDS);
        }
        const view = await migration.timePasses(
          'is taken over',
          (now) => count(now.timeline, 'stopped execution resumed') === 1 && now,
        );
        expect(view.executionArn).toMatch(new RegExp(`:handoff-recover:${migration.id}.1$`));
        await migration.isSettled(expected);
      });
    });

    describe('a cancel', () => {
      const outcome = (migration: MigrationUnderTest) =>
        ({ status: 'CANCELLED', runsOn: migration.from, failure: { code: 'Cancelled' } }) as const;

      const moments = {
        'during the copy': async () => {
          const migration = await begin();
          await migration.copies();
          return migration;
        },
        'while it is held': startHeld,
      };

      it.each(Object.entries(moments))('is one cancel, however many ask for it %s', async (_, reached) => {
        const migration = await reached();
        const answers = await Promise.all([cancel(migration.id), cancel(migration.id), cancel(migration.id)]);
        expect(answers.map(({ status }) => status)).toEqual(['CANCELLING', 'CANCELLING', 'CANCELLING']);
        const { timeline } = await migration.isSettled(outcome(migration));
        expect(count(timeline, 'cancel requested')).toBe(1);
        expect(count(timeline, 'ended')).toBe(1);
        expect(await cancel(migration.id)).toMatchObject({ status: 'CANCELLED' });
      });

      it('during recovery is its outcome, also when the recovery is stopped in turn', async () => {
        const migration = await begin();
        await migration.copies();
        await migration.killMover();
        await migration.stopExecution();
        await migration.timePasses(
          'is taken over',
          ({ timeline }) => count(timeline, 'stopped execution resumed') === 1,
        );
        expect(await cancel(migration.id)).toMatchObject({ status: 'CANCELLING' });
        await migration.stopExecution();
        expect(await cancel(migration.id)).toMatchObject({ status: 'CANCELLING' });
        await migration.timePasses('ends', ({ status }) => status === 'CANCELLED');
        const { timeline, executionArn } = await migration.isSettled(outcome(migration));
        expect(executionArn).toMatch(/\.2$/);
        expect(count(timeline, 'ended')).toBe(1);
      });
    });

    describe('AWS is out of reach of both hosts while the copy is held', () => {
      const cut = async () => {
        for (const host of testbed.lab.hosts) await testbed.cutFromAws(host);
      };
      const mend = async () => {
        for (const host of testbed.lab.hosts) await testbed.restoreAws(host);
      };

      it('for less than the hold: nothing happens without a commit, and the migration continues afterwards', async () => {
        const migration = await startHeld();
        // What a migration at work holds is no leak.
        expect(await audit('--repair')).toEqual({ exitCode: 0, findings: [] });
        await cut();
        await cutover(migration.id);
        await migration.reaches('is told to switch', ({ timeline }) => count(timeline, 'cutover task sent') === 1);
        await sleep(3_000);
        expect(await stateOn(testbed.lab, migration.from, migration.vm)).toMatch(/^running/);
        expect(await migration.moverRuns()).toBe(true);
        await mend();
        await migration.isSettled({ status: 'SUCCEEDED', runsOn: migration.to, result: { precopy: 'held' } });
      });

      /** The copy is let go, as a hold lets it go that is over: the guest stops, and the mover cannot commit. */
      async function holdIsOver(migration: MigrationUnderTest): Promise<void> {
        await execText(testbed.lab, migration.from, ['virsh', 'migrate-setmaxdowntime', migration.vm, '1000']);
        await execText(testbed.lab, migration.from, ['virsh', 'migrate-setspeed', migration.vm, '100']);
        const runsOn = async () => {
          const job = await execText(testbed.lab, migration.from, ['virsh', 'domjobinfo', migration.vm]);
          return /None/.test(job) && /^running/.test((await stateOn(testbed.lab, migration.from, migration.vm)) ?? '');
        };
        await until('the VM runs on at the source, and the copy is over', runsOn, { timeoutMs: 60_000 });
        expect(await stateOn(testbed.lab, migration.to, migration.vm)).toBeUndefined();
      }

      it('for longer than the hold: the VM runs on at the source, and the record says so when AWS is back', async () => {
        const migration = await startHeld();
        await cut();
        await holdIsOver(migration);
        expect(await migration.show()).toMatchObject({ status: 'HELD' });
        await mend();
        await cutover(migration.id);
        await migration.isSettled({ status: 'FAILED', runsOn: migration.from, failure: { code: 'CommitUnknown' } });
      });

      it('for longer than AWS waits: it is settled without the hosts, which are looked at when they are back', async () => {
        const migration = await startHeld();
        await cut();
        await cutover(migration.id);
        const settled = await migration.timePasses('ends', (view) => view.endedAt !== undefined && view, 'both');
        expect(settled).toMatchObject({ status: 'FAILED', runsOn: migration.from });
        expect((await audit('--repair')).findings).toMatchObject([
          { resource: 'pending cleanup', of: 'kvm1', owner: migration.id },
          { resource: 'pending cleanup', of: 'kvm2', owner: migration.id },
        ]);
        await holdIsOver(migration);
        await mend();
        clock.leap(SWEEP_SECONDS);
        await migration.timePasses('both hosts are found clean', async () => (await audit()).findings.length === 0);
        await migration.isSettled({ status: 'FAILED', runsOn: migration.from, endedAt: settled.endedAt! });
      });
    });

    describe('an operator is needed', () => {
      const resolve = (migration: MigrationUnderTest, owner: string, ...options: string[]) =>
        handoff<MigrationView>(managed, 'resolve', migration.id, '--owner', owner, '--reason', 'I looked', ...options);

      const told: MigrationEnded[] = [];

      /** The mover is dead after its commit, the destination out of reach for longer than recovery waits. */
      async function inDoubt({ started }: { started: boolean }): Promise<MigrationUnderTest> {
        const migration = await begin();
        told.length = 0;
        const injected = Promise.withResolvers<void>();
        const inject = async () => {
          await migration.killMover();
          await testbed.cutFromAws(migration.to);
          injected.resolve();
        };
        testbed.observe(async (call, next) => {
          if (call.operation === 'PutEvents') told.push(...endsIn(call));
          const answer = await next();
          if (!started && isCommit(call)) await inject();
          return answer;
        });
        testbed.relayTo(migration.to).rule(async (direction, procedure) => {
          if (!started || direction !== 'reply' || procedure !== 'DOMAIN_MIGRATE_FINISH3_PARAMS') return 'pass';
          await inject();
          return 'swallow';
        });
        await injected.promise;
        await migration.timePasses('waits', ({ timeline }) => count(timeline, 'recovery: wait') > 0, 'destination');
        expect(await problemOf(cancel(migration.id))).toMatchObject({ status: 409, code: 'AlreadyHandedOver' });
        clock.leap(PATIENCE_SECONDS);
        await migration.timePasses('asks', ({ status }) => status === 'NEEDS_OPERATOR', 'destination');
        return migration;
      }

      it('ends as NEEDS_OPERATOR; a decision against what a host proves is refused, the right one finishes', async () => {
        const counted: string[] = [];
        // The embedded AWS leaves metrics out. In AWS they are lines that CloudWatch reads, and its alarms watch.
        vi.stubEnv('POWERTOOLS_METRICS_DISABLED', 'false');
        vi.spyOn(process.stdout, 'write').mockImplementation((line) => counted.push(String(line)) > 0);

        const migration = await inDoubt({ started: true });
        vi.restoreAllMocks();
        vi.unstubAllEnvs();
        expect(told).toMatchObject([{ migrationId: migration.id, status: 'NEEDS_OPERATOR' }]);
        expect(counted.filter((line) => line.includes('"MigrationEnded":1'))).toEqual([
          expect.stringContaining('"status":"NEEDS_OPERATOR"'),
        ]);
        const view = await migration.show();
        expect(view.runsOn).toBeUndefined();
        for (const said of [
          'shows it paused',
          'destination does not answer',
          'was committed',
          `resolve ${migration.id}`,
        ]) {
          expect(view.failure?.message).toContain(said);
        }
        expect(await leaksOf(managed, view)).toEqual([]);
        expect(await stateOn(testbed.lab, migration.from, migration.vm)).toMatch(/^paused/);
        const again = managed.api.call('POST', '/migrations', {
          body: { vm: migration.vm, source: migration.from, destination: migration.to },
        });
        expect(await problemOf(again)).toMatchObject({ code: 'VmBusy', migrationId: migration.id });

        await testbed.restoreAws(migration.to);
        const refused = await resolve(migration, 'source', '--watch');
        expect(refused).toMatchObject({ exitCode: 6, answer: { status: 'NEEDS_OPERATOR' } });
        expect(refused.answer.failure?.message).toContain('refused, because it runs on the destination');
        expect(await stateOn(testbed.lab, migration.from, migration.vm)).toMatch(/^paused/);
        expect(await resolve(migration, 'destination', '--watch')).toMatchObject({ exitCode: 0 });
        await migration.isSettled({
          status: 'SUCCEEDED',
          runsOn: migration.to,
          warning: { code: 'SettledByOperator' },
        });
      });

      it('accepts a decision for a host that stays away, and inspects the host when it is back', async () => {
        const migration = await inDoubt({ started: false });
        expect(await resolve(migration, 'source')).toMatchObject({ exitCode: 0 });
        await migration.timePasses('ends', ({ endedAt }) => endedAt !== undefined, 'destination');
        expect(await guestStatus(testbed.guestAddress)).toMatchObject({ patternErrors: 0, diskErrors: 0 });
        const pendingCleanup = {
          resource: 'pending cleanup',
          of: migration.to,
          owner: migration.id,
          outcome: 'reported',
        };
        expect(await audit('--repair')).toMatchObject({ exitCode: 1, findings: [pendingCleanup] });
        await testbed.restoreAws(migration.to);
        clock.leap(SWEEP_SECONDS);
        await migration.timePasses('the host is found clean', async () => (await audit()).exitCode === 0);
        await migration.isSettled({ status: 'FAILED', runsOn: migration.from, failure: { code: 'SettledByOperator' } });
      });
    });

    it('what is left held is found by an audit: the proven is given back, the rest reported', async () => {
      const { ControlTable: control, MailboxTable: mailbox, HostRoleId } = managed.aws.outputs;
      const db = DynamoDBDocumentClient.from(new DynamoDBClient(managed.aws.inProcess()));
      const hold = (host: string, what: string, values: Record<string, unknown>) =>
        db.send(
          new UpdateCommand({
            TableName: control,
            Key: { pk: 'HOSTS', sk: host },
            UpdateExpression: what,
            ...(what.includes('#id') && { ExpressionAttributeNames: { '#id': owner } }),
            ExpressionAttributeValues: values,
          }),
        );
      const lock = (vm: string, migrationId: string) => {
        const item = { pk: `VM#${vm}`, sk: 'LOCK', entity: 'LOCK', migrationId, requestedAt: new Date().toISOString() };
        return db.send(new PutCommand({ TableName: control, Item: item }));
      };
      const { migrationId: owner, status } = await migrate(managed, { vm: 'nobody', from: 'kvm1', to: 'kvm2' });
      expect(status).toBe('FAILED');
      clock.leap(SETTLING_SECONDS);

      const mine = new Set([owner]);
      await hold('kvm1', 'ADD outgoing :me, cutovers :me', { ':me': mine });
      await hold('kvm2', 'ADD incoming :me SET reservations.#id = :mib', { ':me': mine, ':mib': 512 });
      await lock('idle', owner);
      const commitRecord = commitRecordKey(`${HostRoleId}:${managed.nodeIdOf('kvm1')}`, owner);
      await db.send(new PutCommand({ TableName: mailbox, Item: { ...commitRecord, state: 'OPEN' } }));
      await lock('odd', 'stranger-1');
      await hold('kvm2', 'ADD incoming :other', { ':other': new Set(['stranger-1']) });

      const proven = [
        'commit record kvm1',
        'cutover slot kvm1',
        'incoming slot kvm2',
        'lock idle',
        'memory kvm2',
        'outgoing slot kvm1',
      ];
      const unproven = ['incoming slot kvm2', 'lock odd'];
      const found = (findings: AuditFinding[], outcome: AuditFinding['outcome'], by: string) =>
        findings
          .filter((finding) => finding.outcome === outcome && finding.owner === by)
          .map(({ resource, of }) => `${resource} ${of}`)
          .toSorted();

      const looked = await audit();
      expect(looked.exitCode).toBe(1);
      expect(found(looked.findings, 'reported', owner)).toEqual(proven);
      expect(found(looked.findings, 'reported', 'stranger-1')).toEqual(unproven);
      expect(await audit(), 'a look changes nothing').toEqual(looked);
      const repaired = await audit('--repair');
      expect(repaired.exitCode).toBe(1);
      expect(found(repaired.findings, 'repaired', owner)).toEqual(proven);
      expect(found(repaired.findings, 'reported', 'stranger-1')).toEqual(unproven);
      const { findings: left } = await audit('--repair');
      expect(left).toHaveLength(2);
      expect(found(left, 'reported', 'stranger-1')).toEqual(unproven);
    });
  },
  { clock },
);

const endsIn = ({ input }: AwsCall): MigrationEnded[] =>
  (input.Entries as { DetailType: string; Detail: string }[])
    .filter(({ DetailType }) => DetailType === 'Migration Ended')
    .map(({ Detail }) => JSON.parse(Detail) as MigrationEnded);
