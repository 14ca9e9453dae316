import type { Fields, Sees } from '../diagnostics/fields.ts';
import { integrationFor } from '../integrations/resources.ts';
import type {
  ChoiceRule,
  FailState,
  MapState,
  ParallelState,
  State,
  TaskState,
  WaitState,
  Workflow,
} from './definition.ts';
import { parseConclusion } from './parse-conclusion.ts';
import { parseCatch, parseRetry } from './parse-recovery.ts';

export type ParseWorkflow = (fields: Fields) => Workflow;

const JSONPATH_FIELDS = [
  'InputPath',
  'OutputPath',
  'ResultPath',
  'Parameters',
  'ResultSelector',
  'Result',
  'ItemsPath',
  'MaxConcurrencyPath',
  'SecondsPath',
  'TimestampPath',
  'TimeoutSecondsPath',
  'HeartbeatSecondsPath',
  'ErrorPath',
  'CausePath',
];
const DISTRIBUTED_FIELDS = [
  'ItemReader',
  'ItemBatcher',
  'ResultWriter',
  'Label',
  'ToleratedFailureCount',
  'ToleratedFailurePercentage',
];
const REFUSED = new Map([
  ...JSONPATH_FIELDS.map((field) => [field, `"${field}" belongs to JSONPath; the query language is JSONata`] as const),
  ...DISTRIBUTED_FIELDS.map(
    (field) => [field, `"${field}" belongs to Distributed Map, which is not supported`] as const,
  ),
  ['Credentials', '"Credentials" is not supported: tasks run as the role of the state machine'] as const,
  ['Iterator', '"Iterator" is deprecated; use "ItemProcessor"'] as const,
]);

const COMMON = ['Type', 'Comment', 'QueryLanguage'];
const CONCLUSION = ['Next', 'End', 'Output', 'Assign'];
const RECOVERY = ['Retry', 'Catch'];

const PARSERS: { [type: string]: (name: string, fields: Fields, parseWorkflow: ParseWorkflow) => State } = {
  Task: parseTask,
  Pass: (name, fields) => {
    allow(fields, CONCLUSION);
    return { type: 'Pass', name, ...parseNext(fields), ...parseConclusion(fields, 'nothing more') };
  },
  Choice: parseChoice,
  Wait: parseWait,
  Succeed: (name, fields) => {
    allow(fields, ['Output']);
    return { type: 'Succeed', name, ...parseConclusion(fields, 'nothing more') };
  },
  Fail: parseFail,
  Parallel: parseParallel,
  Map: parseMap,
};

export function parseState(name: string, fields: Fields, parseWorkflow: ParseWorkflow): State {
  const language = fields.text('QueryLanguage');
  if (language !== undefined && language !== 'JSONata') {
    fields.complain('QueryLanguage', `the query language "${language}" is not supported, only JSONata`);
  }
  const type = fields.requiredText('Type');
  const parse = Object.hasOwn(PARSERS, type) ? PARSERS[type] : undefined;
  if (parse !== undefined) return parse(name, fields, parseWorkflow);
  if (fields.has('Type')) {
    fields.complain('Type', `"${type}" is not a state type; the types are ${Object.keys(PARSERS).join(', ')}`);
  }
  return { type: 'Pass', name };
}

function parseTask(name: string, fields: Fields): TaskState {
  allow(fields, ['Resource', 'Arguments', 'TimeoutSeconds', 'HeartbeatSeconds', ...CONCLUSION, ...RECOVERY]);
  const resource = fields.requiredText('Resource');
  const integration = integrationFor(resource);
  if (typeof integration === 'string') fields.complain('Resource', integration);
  const [timeoutSeconds, heartbeatSeconds] = [
    fields.scalar('TimeoutSeconds', 'number'),
    fields.scalar('HeartbeatSeconds', 'number'),
  ];
  return {
    type: 'Task',
    name,
    integration: integration as TaskState['integration'],
    ...parseArguments(fields),
    ...(timeoutSeconds && { timeoutSeconds }),
    ...(heartbeatSeconds && { heartbeatSeconds }),
    ...parseRecoverable(fields),
  };
}

function parseChoice(name: string, fields: Fields): State {
  allow(fields, ['Choices', 'Default', 'Output', 'Assign']);
  const rules = fields.objects('Choices').map((rule): ChoiceRule => {
    rule.only(['Condition', 'Next', 'Output', 'Assign', 'Comment']);
    const condition = rule.requiredOne('Condition', rule.scalar('Condition', 'boolean'));
    return {
      condition: condition ?? { kind: 'constant', value: false },
      next: rule.requiredText('Next'),
      ...parseConclusion(rule, 'nothing more'),
    };
  });
  if (rules.length === 0) fields.complain('Choices', '"Choices" must hold at least one rule');
  const next = fields.text('Default');
  return { type: 'Choice', name, rules, ...(next && { next }), ...parseConclusion(fields, 'nothing more') };
}

function parseWait(name: string, fields: Fields): WaitState {
  allow(fields, ['Seconds', 'Timestamp', ...CONCLUSION]);
  if (fields.has('Seconds') === fields.has('Timestamp')) {
    fields.complain('', 'a Wait state has exactly one of "Seconds" and "Timestamp"');
  }
  const timestamp = fields.scalar('Timestamp', 'string');
  const template = timestamp ?? fields.scalar('Seconds', 'number') ?? { kind: 'constant', value: 0 };
  return {
    type: 'Wait',
    name,
    until: { kind: timestamp ? 'timestamp' : 'seconds', template },
    ...parseNext(fields),
    ...parseConclusion(fields, 'nothing more'),
  };
}

function parseFail(name: string, fields: Fields): FailState {
  allow(fields, ['Error', 'Cause']);
  const [error, cause] = [fields.scalar('Error', 'string'), fields.scalar('Cause', 'string')];
  return { type: 'Fail', name, ...(error && { error }), ...(cause && { cause }) };
}

function parseParallel(name: string, fields: Fields, parseWorkflow: ParseWorkflow): ParallelState {
  allow(fields, ['Branches', 'Arguments', ...CONCLUSION, ...RECOVERY]);
  const branches = fields.objects('Branches').map((branch) => {
    branch.only(['StartAt', 'States', 'Comment']);
    return parseWorkflow(branch);
  });
  if (branches.length === 0) fields.complain('Branches', '"Branches" must hold at least one branch');
  return { type: 'Parallel', name, branches, ...parseArguments(fields), ...parseRecoverable(fields) };
}

function parseMap(name: string, fields: Fields, parseWorkflow: ParseWorkflow): MapState {
  allow(fields, ['Items', 'ItemSelector', 'ItemProcessor', 'MaxConcurrency', ...CONCLUSION, ...RECOVERY]);
  const processor = fields.requiredOne('ItemProcessor', fields.object('ItemProcessor'));
  processor?.only(['StartAt', 'States', 'Comment', 'ProcessorConfig']);
  const mode = processor?.object('ProcessorConfig')?.text('Mode') ?? 'INLINE';
  if (mode !== 'INLINE') {
    processor?.complain('ProcessorConfig/Mode', `a Map of mode ${mode} is not supported, only INLINE`);
  }
  const items = fields.template('Items', 'nothing more');
  if (items?.kind === 'constant' && !Array.isArray(items.value)) {
    fields.complain('Items', '"Items" must be an array or a JSONata expression');
  }
  const itemSelector = fields.template('ItemSelector', 'nothing more');
  const maxConcurrency = fields.scalar('MaxConcurrency', 'number');
  return {
    type: 'Map',
    name,
    processor: processor ? parseWorkflow(processor) : { startAt: '', states: new Map() },
    ...(items && { items }),
    ...(itemSelector && { itemSelector }),
    ...(maxConcurrency && { maxConcurrency }),
    ...parseRecoverable(fields),
  };
}

function allow(fields: Fields, own: readonly string[]): void {
  fields.only([...COMMON, ...own], REFUSED);
}

function parseArguments(fields: Fields) {
  const template = fields.template('Arguments', 'nothing more');
  return template && { arguments: template };
}

/** What Task, Parallel and Map have in common. */
function parseRecoverable(fields: Fields) {
  return {
    retry: parseRetry(fields),
    catch: parseCatch(fields),
    ...parseNext(fields),
    ...parseConclusion(fields, 'result' satisfies Sees),
  };
}

function parseNext(fields: Fields): { next?: string } {
  const next = fields.text('Next');
  const end = fields.flag('End') ?? false;
  if (fields.has('Next') === end) fields.complain('', 'the state must have either "Next" or "End": true');
  return next === undefined ? {} : { next };
}
