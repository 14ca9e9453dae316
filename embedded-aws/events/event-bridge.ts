import type { Clock } from '../../common/clock.ts';
import {
  AwsError,
  type CallAws,
  type Caller,
  type Json,
  type JsonObject,
  notImplemented,
  type Service,
} from '../core/service.ts';
import { deliver } from './delivery.ts';
import { targetInput } from './input.ts';
import { compilePattern, type Matcher } from './pattern.ts';
import { ratePeriodMs } from './schedule.ts';
import { type SendToTarget, type Target, targetSender } from './targets.ts';

/** An event as a service or a caller puts it on the bus, before EventBridge adds id, time, account and region. */
export interface BusEvent {
  source: string;
  detailType: string;
  detail: JsonObject;
  resources?: string[];
  /** Milliseconds since the epoch; now, unless given. */
  time?: number;
}

export interface Rule {
  name: string;
  arn: string;
  pattern?: Json;
  /** `rate(...)`; a rule has a pattern, a schedule, or both. */
  schedule?: string;
  targets: Target[];
}

export interface EventBridgeOptions {
  clock: Clock;
  random: () => number;
  uuid: () => string;
  region: string;
  account: string;
  callAws: CallAws;
  callerForRole: (roleArn: string, session: string) => Caller;
  /** Ends retries and schedules. */
  signal: AbortSignal;
  /** Called for each event that is lost because its target has no dead-letter queue. */
  report: (message: string) => void;
}

export interface EventBridge extends Service {
  putRule(rule: Rule): void;
  /** An EventBridge Scheduler schedule: one target, at a `rate(...)`. */
  putSchedule(schedule: { arn: string; expression: string; target: Target }): void;
  /** Puts an event of an AWS service on the default bus. Delivery continues after the call. */
  emit(event: BusEvent): void;
  /** Puts an event on the default bus that has its id, time, account and region already. */
  publish(event: JsonObject): void;
}

const MAX_ENTRIES = 10;

/** EventBridge's default bus, and Scheduler. */
export function createEventBridge(options: EventBridgeOptions): EventBridge {
  const { clock, region, account, signal } = options;
  const busArn = `arn:aws:events:${region}:${account}:event-bus/default`;
  const rules = new Map<string, Rule & { matches: Matcher | undefined }>();
  const send = targetSender(options);

  const envelope = (event: BusEvent) => ({
    version: '0',
    id: options.uuid(),
    'detail-type': event.detailType,
    source: event.source,
    account,
    time: `${new Date(event.time ?? clock.now()).toISOString().slice(0, 19)}Z`,
    region,
    resources: event.resources ?? [],
    detail: event.detail,
  });

  function publish(event: JsonObject): void {
    for (const rule of rules.values()) if (rule.matches?.(event)) deliverToTargets(rule, event);
  }

  function emit(event: BusEvent): string {
    const whole = envelope(event);
    publish(whole);
    return whole.id;
  }

  const inputOf = (rule: Rule, target: Target, event: JsonObject): Json => {
    const ingestionTime = new Date(clock.now()).toISOString();
    return targetInput(target, event, { ruleArn: rule.arn, ruleName: rule.name, ingestionTime });
  };

  function deliverToTargets(rule: Rule, event: JsonObject): void {
    for (const target of rule.targets) start(rule.arn, target, send.rule, inputOf(rule, target, event));
  }

  function start(ruleArn: string, target: Target, sendTo: SendToTarget, input: Json): void {
    const queue = target.DeadLetterConfig?.Arn;
    void deliver({
      clock,
      random: options.random,
      signal,
      ruleArn,
      targetArn: target.Arn,
      input,
      retryPolicy: target.RetryPolicy,
      send: (body) => sendTo(target, body),
      bury: async ({ body, attributes }) => {
        if (queue !== undefined) return send.deadLetter(queue, body, attributes);
        options.report(
          `${ruleArn} lost an event for ${target.Arn}: ${attributes.ERROR_CODE}: ${attributes.ERROR_MESSAGE}`,
        );
      },
    }).catch((error: unknown) => options.report(`${ruleArn} could not bury an event: ${String(error)}`));
  }

  async function every(period: number, run: () => void): Promise<void> {
    for (;;) {
      await clock.sleep(period, signal);
      if (signal.aborted) return;
      run();
    }
  }

  function putEntry(entry: JsonObject): JsonObject {
    const { Source, DetailType, Detail, Resources, Time, EventBusName } = entry;
    if (EventBusName !== undefined && EventBusName !== 'default' && EventBusName !== busArn) {
      throw notImplemented(`the event bus ${String(EventBusName)}`);
    }
    if (typeof Source !== 'string' || typeof DetailType !== 'string' || typeof Detail !== 'string') {
      return { ErrorCode: 'InvalidArgument', ErrorMessage: 'Source, DetailType and Detail are required.' };
    }
    if (Source.startsWith('aws.')) {
      return { ErrorCode: 'NotAuthorizedForSourceException', ErrorMessage: `Not authorized for the source ${Source}.` };
    }
    const detail = parseObject(Detail);
    if (detail === undefined) return { ErrorCode: 'MalformedDetail', ErrorMessage: 'Detail is malformed.' };
    const event: BusEvent = {
      source: Source,
      detailType: DetailType,
      detail,
      resources: (Resources ?? []) as string[],
    };
    // The JSON protocol carries times in seconds.
    return { EventId: emit(typeof Time === 'number' ? { ...event, time: Time * 1_000 } : event) };
  }

  return {
    publish,
    emit: (event) => void emit(event),

    putRule(rule) {
      const { pattern, schedule } = rule;
      rules.set(rule.name, { ...rule, matches: pattern === undefined ? undefined : compilePattern(pattern) });
      for (const target of rule.targets) {
        send.check(target);
        // Fails now, rather than with the first event, on a path that is not understood.
        inputOf(rule, target, {});
      }
      if (schedule === undefined) return;
      void every(ratePeriodMs(schedule), () => {
        const tick = { source: 'aws.events', detailType: 'Scheduled Event', detail: {}, resources: [rule.arn] };
        deliverToTargets(rule, envelope(tick));
      });
    },

    putSchedule({ arn, expression, target }) {
      send.check(target);
      const input = target.Input === undefined ? {} : (JSON.parse(target.Input) as Json);
      void every(ratePeriodMs(expression), () => start(arn, target, send.schedule, input));
    },

    requiredPermissions(operation, input) {
      if (operation !== 'PutEvents') throw notImplemented(`events:${operation}`);
      return entriesOf(input).map((entry) => ({
        action: 'events:PutEvents',
        resource: busArn,
        context: { 'events:source': String(entry.Source), 'events:detail-type': String(entry.DetailType) },
      }));
    },

    async call(_operation, input) {
      const entries = entriesOf(input);
      if (entries.length === 0 || entries.length > MAX_ENTRIES) {
        throw new AwsError(
          'ValidationException',
          `Entries must have 1 to ${MAX_ENTRIES} members, not ${entries.length}.`,
        );
      }
      const results = entries.map(putEntry);
      return { FailedEntryCount: results.filter((result) => result.ErrorCode !== undefined).length, Entries: results };
    },
  };
}

const entriesOf = (input: JsonObject): JsonObject[] =>
  Array.isArray(input.Entries) ? (input.Entries as JsonObject[]) : [];

function parseObject(text: string): JsonObject | undefined {
  try {
    const value = JSON.parse(text) as Json;
    return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
