import { setTimeout as sleep } from 'node:timers/promises';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, PutCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ApiProblem } from '../../cli/api-client.ts';
import type { AuditFinding, MigrationEnded, MigrationView } from '../../contract/api.ts';
import { commitRecordKey } from '../../contract/mailbox.ts';
import { type AwsCall, FaultTestbed } from '../../lab/faults/fault-testbed.ts';
import { leaksOf } from '../../lab/faults/leaks.ts';
import { isCommit } from '../../lab/faults/phases.ts';
import { guestStatus } from '../../lab/guest/guests.ts';
import { execText } from '../../lab/hosts/node.ts';
import { until } from '../../lab/hosts/until.ts';
import type { ManagedLab } from '../../lab/managed-lab.ts';
import { describeWithManagedLab } from './support/describe-with-managed-lab.ts';
import { handoff } from './support/handoff-command.ts';
import { LeapingClock } from './support/leaping-clock.ts';
import { count, MigrationUnderTest } from './support/migration-under-test.ts';
import { migrate, stateOn } from './support/moves.ts';

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
    let stand: FaultTestbed;
    let latest: MigrationUnderTest | undefined;
    beforeAll(async () => {
      managed = its();
      stand = await FaultTestbed.on(managed);
    });
    afterEach(async () => {
      vi.restoreAllMocks();
      vi.unstubAllEnvs();
      stand.watch();
      for (const host of stand.lab.hosts) await stand.mendToAws(host);
      await latest?.endWatch();
    });
    afterAll(() => stand?.stop());

    const begin = async (): Promise<MigrationUnderTest> => {
      latest = await MigrationUnderTest.begin(stand, clock);
      return latest;
    };
    const beginHeld = async (): Promise<MigrationUnderTest> => {
      latest = await MigrationUnderTest.beginHeld(stand, clock);
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
        (trial: MigrationUnderTest, atCommit: AtCommit) => Promise<Parameters<MigrationUnderTest['isSettled']>[0]>
      > = {
        'in the middle of the copy': async (trial) => {
          await trial.copies();
          expect(await trial.moverRuns()).toBe(true);
          await trial.stopExecution();
          return { status: 'FAILED', runsOn: trial.from, failure: { code: 'ExecutionStopped' } };
        },
        'after the commit': async (trial, atCommit) => {
          const { executionArn } = await trial.show();
          await atCommit(() => trial.stopExecution(executionArn));
          return { status: 'SUCCEEDED', runsOn: trial.to, warning: { code: 'ExecutionStopped' } };
        },
        'after the commit, and the mover dies with it': async (trial, atCommit) => {
          await atCommit(async () => {
            await trial.killMover();
            await trial.stopExecution();
          });
          return { status: 'FAILED', runsOn: trial.from, failure: { code: 'ExecutionStopped' } };
        },
      };
      const isEventOfItsEnd = ({ service, operation, input }: AwsCall) =>
        service === 'lambda' && operation === 'Invoke' && String(input.FunctionName).includes('OnExecutionStopped');

      it.each<[moment: string, event: 'is told' | 'gets lost']>([
        ['in the middle of the copy', 'is told'],
        ['after the commit', 'is told'],
        ['after the commit, and the mover dies with it', 'is told'],
        ['in the middle of the copy', 'gets lost'],
        ['after the commit', 'gets lost'],
      ])('%s is recovered from, where its end %s', async (moment, event) => {
        const committed = Promise.withResolvers<() => void>();
        let lost = 0;
        stand.watch(async (call, next) => {
          if (event === 'gets lost' && isEventOfItsEnd(call)) {
            lost += 1;
            return { StatusCode: 202 };
          }
          if (!isCommit(call)) return next();
          const answer = await next();
          await new Promise<void>((resolve) => committed.resolve(resolve));
          return answer;
        });
        const trial = await begin();
        const expected = await moments[moment]!(trial, async (then) => {
          const goOn = await committed.promise;
          await then();
          goOn();
        });
        if (event === 'gets lost') {
          await until('the event is lost', () => lost === 1);
          expect(count((await trial.show()).timeline, 'stopped execution resumed')).toBe(0);
          clock.leap(SWEEP_SECONDS);
        }
        const view = await trial.timePasses(
          'is taken over',
          (now) => count(now.timeline, 'stopped execution resumed') === 1 && now,
        );
        expect(view.executionArn).toMatch(new RegExp(`:handoff-recover:${trial.id}.1$`));
        await trial.isSettled(expected);
      });
    });

    describe('a cancel', () => {
      const outcome = (trial: MigrationUnderTest) =>
        ({ status: 'CANCELLED', runsOn: trial.from, failure: { code: 'Cancelled' } }) as const;

      const moments = {
        'during the copy': async () => {
          const trial = await begin();
          await trial.copies();
          return trial;
        },
        'while it is held': beginHeld,
      };

      it.each(Object.entries(moments))('is one cancel, however many ask for it %s', async (_, reached) => {
        const trial = await reached();
        const answers = await Promise.all([cancel(trial.id), cancel(trial.id), cancel(trial.id)]);
        expect(answers.map(({ status }) => status)).toEqual(['CANCELLING', 'CANCELLING', 'CANCELLING']);
        const { timeline } = await trial.isSettled(outcome(trial));
        expect(count(timeline, 'cancel requested')).toBe(1);
        expect(count(timeline, 'ended')).toBe(1);
        expect(await cancel(trial.id)).toMatchObject({ status: 'CANCELLED' });
      });

      it('during recovery is its outcome, also when the recovery is stopped in turn', async () => {
        const trial = await begin();
        await trial.copies();
        await trial.killMover();
        await trial.stopExecution();
        await trial.timePasses('is taken over', ({ timeline }) => count(timeline, 'stopped execution resumed') === 1);
        expect(await cancel(trial.id)).toMatchObject({ status: 'CANCELLING' });
        await trial.stopExecution();
        expect(await cancel(trial.id)).toMatchObject({ status: 'CANCELLING' });
        await trial.timePasses('ends', ({ status }) => status === 'CANCELLED');
        const { timeline, executionArn } = await trial.isSettled(outcome(trial));
        expect(executionArn).toMatch(/\.2$/);
        expect(count(timeline, 'ended')).toBe(1);
      });
    });

    describe('AWS is out of reach of both hosts while the copy is held', () => {
      const cut = async () => {
        for (const host of stand.lab.hosts) await stand.cutFromAws(host);
      };
      const mend = async () => {
        for (const host of stand.lab.hosts) await stand.mendToAws(host);
      };

      it('for less than the hold: nothing happens without the ledger, and the migration goes on afterwards', async () => {
        const trial = await beginHeld();
        // What a migration at work holds is no leak.
        expect(await audit('--repair')).toEqual({ exitCode: 0, findings: [] });
        await cut();
        await cutover(trial.id);
        await trial.reaches('is told to switch', ({ timeline }) => count(timeline, 'cutover task sent') === 1);
        await sleep(3_000);
        expect(await stateOn(stand.lab, trial.from, trial.vm)).toMatch(/^running/);
        expect(await trial.moverRuns()).toBe(true);
        await mend();
        await trial.isSettled({ status: 'SUCCEEDED', runsOn: trial.to, result: { precopy: 'held' } });
      });

      /** The copy is let go, as a hold lets it go that is over: the guest stops, and the mover cannot commit. */
      async function holdIsOver(trial: MigrationUnderTest): Promise<void> {
        await execText(stand.lab, trial.from, ['virsh', 'migrate-setmaxdowntime', trial.vm, '1000']);
        await execText(stand.lab, trial.from, ['virsh', 'migrate-setspeed', trial.vm, '100']);
        const runsOn = async () => {
          const job = await execText(stand.lab, trial.from, ['virsh', 'domjobinfo', trial.vm]);
          return /None/.test(job) && /^running/.test((await stateOn(stand.lab, trial.from, trial.vm)) ?? '');
        };
        await until('the VM runs on at the source, and the copy is over', runsOn, { timeoutMs: 60_000 });
        expect(await stateOn(stand.lab, trial.to, trial.vm)).toBeUndefined();
      }

      it('for longer than the hold: the VM runs on at the source, and the record says so when AWS is back', async () => {
        const trial = await beginHeld();
        await cut();
        await holdIsOver(trial);
        expect(await trial.show()).toMatchObject({ status: 'HELD' });
        await mend();
        await cutover(trial.id);
        await trial.isSettled({ status: 'FAILED', runsOn: trial.from, failure: { code: 'CommitUnknown' } });
      });

      it('for longer than AWS waits: it is settled without the hosts, which are looked at when they are back', async () => {
        const trial = await beginHeld();
        await cut();
        await cutover(trial.id);
        const settled = await trial.timePasses('ends', (view) => view.endedAt !== undefined && view, 'both');
        expect(settled).toMatchObject({ status: 'FAILED', runsOn: trial.from });
        expect((await audit('--repair')).findings).toMatchObject([
          { resource: 'pending cleanup', of: 'kvm1', owner: trial.id },
          { resource: 'pending cleanup', of: 'kvm2', owner: trial.id },
        ]);
        await holdIsOver(trial);
        await mend();
        clock.leap(SWEEP_SECONDS);
        await trial.timePasses('both hosts are found clean', async () => (await audit()).findings.length === 0);
        await trial.isSettled({ status: 'FAILED', runsOn: trial.from, endedAt: settled.endedAt! });
      });
    });

    describe('an operator is needed', () => {
      const resolve = (trial: MigrationUnderTest, owner: string, ...options: string[]) =>
        handoff<MigrationView>(managed, 'resolve', trial.id, '--owner', owner, '--reason', 'I looked', ...options);

      const told: MigrationEnded[] = [];

      /** The mover is dead after its commit, the destination out of reach for longer than recovery waits. */
      async function inDoubt({ started }: { started: boolean }): Promise<MigrationUnderTest> {
        const trial = await begin();
        told.length = 0;
        const struck = Promise.withResolvers<void>();
        const strike = async () => {
          await trial.killMover();
          await stand.cutFromAws(trial.to);
          struck.resolve();
        };
        stand.watch(async (call, next) => {
          if (call.operation === 'PutEvents') told.push(...endsIn(call));
          const answer = await next();
          if (!started && isCommit(call)) await strike();
          return answer;
        });
        stand.relayTo(trial.to).rule(async (direction, procedure) => {
          if (!started || direction !== 'reply' || procedure !== 'DOMAIN_MIGRATE_FINISH3_PARAMS') return 'pass';
          await strike();
          return 'swallow';
        });
        await struck.promise;
        await trial.timePasses('waits', ({ timeline }) => count(timeline, 'recovery: wait') > 0, 'destination');
        expect(await problemOf(cancel(trial.id))).toMatchObject({ status: 409, code: 'AlreadyHandedOver' });
        clock.leap(PATIENCE_SECONDS);
        await trial.timePasses('asks', ({ status }) => status === 'NEEDS_OPERATOR', 'destination');
        return trial;
      }

      it('says so; a word against what a host proves is refused, the right one finishes', async () => {
        const counted: string[] = [];
        // The embedded AWS leaves metrics out. In AWS they are lines that CloudWatch reads, and its alarms watch.
        vi.stubEnv('POWERTOOLS_METRICS_DISABLED', 'false');
        vi.spyOn(process.stdout, 'write').mockImplementation((line) => counted.push(String(line)) > 0);

        const trial = await inDoubt({ started: true });
        vi.restoreAllMocks();
        vi.unstubAllEnvs();
        expect(told).toMatchObject([{ migrationId: trial.id, status: 'NEEDS_OPERATOR' }]);
        expect(counted.filter((line) => line.includes('"MigrationEnded":1'))).toEqual([
          expect.stringContaining('"status":"NEEDS_OPERATOR"'),
        ]);
        const view = await trial.show();
        expect(view.runsOn).toBeUndefined();
        for (const said of ['shows it paused', 'destination does not answer', 'was committed', `resolve ${trial.id}`]) {
          expect(view.failure?.message).toContain(said);
        }
        expect(await leaksOf(managed, view)).toEqual([]);
        expect(await stateOn(stand.lab, trial.from, trial.vm)).toMatch(/^paused/);
        const again = managed.api.call('POST', '/migrations', {
          body: { vm: trial.vm, source: trial.from, destination: trial.to },
        });
        expect(await problemOf(again)).toMatchObject({ code: 'VmBusy', migrationId: trial.id });

        await stand.mendToAws(trial.to);
        const refused = await resolve(trial, 'source', '--watch');
        expect(refused).toMatchObject({ exitCode: 6, answer: { status: 'NEEDS_OPERATOR' } });
        expect(refused.answer.failure?.message).toContain('refused, because it runs on the destination');
        expect(await stateOn(stand.lab, trial.from, trial.vm)).toMatch(/^paused/);
        expect(await resolve(trial, 'destination', '--watch')).toMatchObject({ exitCode: 0 });
        await trial.isSettled({ status: 'SUCCEEDED', runsOn: trial.to, warning: { code: 'SettledByOperator' } });
      });

      it('takes the word for a host that stays away, and looks there when it is back', async () => {
        const trial = await inDoubt({ started: false });
        expect(await resolve(trial, 'source')).toMatchObject({ exitCode: 0 });
        await trial.timePasses('ends', ({ endedAt }) => endedAt !== undefined, 'destination');
        expect(await guestStatus(stand.guestAddress)).toMatchObject({ patternErrors: 0, diskErrors: 0 });
        const pendingCleanup = { resource: 'pending cleanup', of: trial.to, owner: trial.id, outcome: 'reported' };
        expect(await audit('--repair')).toMatchObject({ exitCode: 1, findings: [pendingCleanup] });
        await stand.mendToAws(trial.to);
        clock.leap(SWEEP_SECONDS);
        await trial.timePasses('the host is found clean', async () => (await audit()).exitCode === 0);
        await trial.isSettled({ status: 'FAILED', runsOn: trial.from, failure: { code: 'SettledByOperator' } });
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
        'cutover slot kvm1',
        'incoming slot kvm2',
        'lock idle',
        'memory kvm2',
        'outgoing slot kvm1',
        'commit record kvm1',
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
