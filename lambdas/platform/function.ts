import { injectLambdaContext } from '@aws-lambda-powertools/logger/middleware';
import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import { Tracer } from '@aws-lambda-powertools/tracer';
import { captureLambdaHandler } from '@aws-lambda-powertools/tracer/middleware';
import type { MiddyHandlerObject } from '@middy/core';
import middy from '@middy/core';
import type { Context } from 'aws-lambda';
import { logFieldsOf, powertoolsLogger, withLogFields } from './log.ts';

const metrics = new Metrics({ namespace: 'Handoff', serviceName: 'handoff' });
const tracer = new Tracer({ serviceName: 'handoff' });

/**
 * Counts one thing that happened, in all and by its dimensions: an alarm can't add up dimensions it does not know. Written at
 * once, so that there is nothing to flush.
 */
export function count(name: string, dimensions: Record<string, string> = {}): void {
  const metric = metrics.singleMetric();
  if (Object.keys(dimensions).length > 0) metric.addDimensions({}).addDimensions(dimensions);
  metric.addMetric(name, MetricUnit.Count, 1);
}

/** Records one measured value. */
export function observe(name: string, unit: 'Percent' | 'Milliseconds', value: number): void {
  metrics.singleMetric().addMetric(name, MetricUnit[unit], value);
}

/**
 * The middleware all functions share: logs and traces around a handler. Lambda alone ends what takes too long: an error of the
 * middleware's own, a moment earlier, would be a second name for the same thing.
 */
export function lambda<E, R>(handler: (event: E, context: Context, middyObject: MiddyHandlerObject) => Promise<R>) {
  const inItsFields: typeof handler = (event, ...rest) =>
    withLogFields(logFieldsOf(event), () => handler(event, ...rest));
  return middy<E, R>(inItsFields, { timeoutEarlyInMillis: 0 })
    .use(captureLambdaHandler(tracer, { captureResponse: false }))
    .use(injectLambdaContext(powertoolsLogger));
}
