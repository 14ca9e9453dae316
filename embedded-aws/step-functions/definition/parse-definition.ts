import type { Json } from '../../core/service.ts';
import { type Diagnostic, Fields, isObject, type Problems } from '../diagnostics/fields.ts';
import type { Conclusion, Definition, State, Workflow } from './definition.ts';
import { parseState } from './parse-state.ts';

/** Step Functions' own limit on a definition's size, in bytes. */
const MAX_DEFINITION_BYTES = 1_048_576;
const MAX_NAME_LENGTH = 80;

export type Parsed =
  | { readonly ok: true; readonly definition: Definition }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/** Parses a definition's JSON text, or says everything that is wrong with it. */
export function parseDefinition(text: string): Parsed {
  const root = parseJson(text);
  if (!isObject(root)) return refused('INVALID_JSON_DESCRIPTION', 'the definition must be a JSON object');
  if (Buffer.byteLength(text) > MAX_DEFINITION_BYTES) {
    return refused('DEFINITION_TOO_LARGE', `the definition is larger than ${MAX_DEFINITION_BYTES} bytes`);
  }
  const problems: Problems = [];
  const fields = new Fields(root, '', problems);
  fields.only(['Comment', 'QueryLanguage', 'StartAt', 'States', 'TimeoutSeconds', 'Version']);
  const language = fields.text('QueryLanguage') ?? 'JSONPath';
  if (language !== 'JSONata') {
    // Every further complaint would be about the wrong language.
    fields.complain(
      'QueryLanguage',
      `the query language "${language}" is not supported; say "QueryLanguage": "JSONata"`,
    );
    return { ok: false, diagnostics: problems };
  }
  if ((fields.text('Version') ?? '1.0') !== '1.0') fields.complain('Version', '"Version" must be "1.0"');
  const timeoutSeconds = fields.number('TimeoutSeconds', { least: 1, most: 99_999_999, whole: true });
  const workflow = parseWorkflows(fields, problems);
  checkVariables(workflow, new Set(), '', problems);
  if (problems.length > 0) return { ok: false, diagnostics: problems };
  return { ok: true, definition: { ...workflow, ...(timeoutSeconds !== undefined && { timeoutSeconds }) } };
}

function parseWorkflows(root: Fields, problems: Problems): Workflow {
  const names = new Set<string>();
  const parseWorkflow = (fields: Fields): Workflow => {
    const startAt = fields.requiredText('StartAt');
    const states = new Map<string, State>();
    const listed = fields.requiredOne('States', fields.object('States'));
    for (const name of listed?.names() ?? []) {
      if (name.length > MAX_NAME_LENGTH)
        listed!.complain(name, `a state's name has at most ${MAX_NAME_LENGTH} characters`);
      if (names.has(name)) listed!.complain(name, `the state name "${name}" is used twice in this machine`);
      names.add(name);
      const state = listed!.state(name);
      if (state) states.set(name, parseState(name, state, parseWorkflow));
    }
    const workflow = { startAt, states };
    checkTransitions(workflow, fields.location, problems);
    return workflow;
  };
  return parseWorkflow(root);
}

function checkTransitions({ startAt, states }: Workflow, location: string, problems: Problems): void {
  const missing = (target: string, at: string) => {
    const message = `there is no state "${target}"`;
    problems.push({ code: 'MISSING_TRANSITION_TARGET', message, location: `${location}${at}` });
  };
  if (startAt !== '' && !states.has(startAt)) missing(startAt, '/StartAt');
  for (const state of states.values()) {
    for (const [target, field] of transitions(state)) {
      if (!states.has(target)) missing(target, `/States/${state.name}/${field}`);
    }
  }
  const reached = new Set<string>();
  const toVisit = [startAt];
  for (let name = toVisit.pop(); name !== undefined; name = toVisit.pop()) {
    const state = states.get(name);
    if (state === undefined || reached.has(name)) continue;
    reached.add(name);
    toVisit.push(...transitions(state).map(([target]) => target));
  }
  for (const name of states.keys()) {
    if (reached.has(name)) continue;
    const message = `the state "${name}" cannot be reached`;
    problems.push({ code: 'MISSING_TRANSITION_TARGET', message, location: `${location}/States/${name}` });
  }
}

/** Where a state may lead, with the field that says so. */
function transitions(state: State): [target: string, field: string][] {
  return conclusions(state).flatMap(([{ next }, field]) =>
    next === undefined || next === '' ? [] : [[next, field] as [string, string]],
  );
}

function conclusions(state: State): [Conclusion, field: string][] {
  if (state.type === 'Fail') return [];
  const own: [Conclusion, string][] = [[state, state.type === 'Choice' ? 'Default' : 'Next']];
  if (state.type === 'Choice') own.push(...state.rules.map(nextOf('Choices')));
  if ('catch' in state) own.push(...state.catch.map(nextOf('Catch')));
  return own;
}

function nextOf(list: string) {
  return (conclusion: Conclusion, index: number): [Conclusion, string] => [conclusion, `${list}/${index}/Next`];
}

/** A branch or item processor reads the variables around it but must not reuse their names. */
function checkVariables(workflow: Workflow, outer: ReadonlySet<string>, location: string, problems: Problems): void {
  const here = new Set(outer);
  for (const state of workflow.states.values()) {
    for (const name of assigned(state)) {
      here.add(name);
      if (!outer.has(name)) continue;
      const message = `the variable "${name}" is assigned in an outer scope already`;
      problems.push({ code: 'SCHEMA_VALIDATION_FAILED', message, location: `${location}/States/${state.name}` });
    }
  }
  for (const state of workflow.states.values()) {
    const at = `${location}/States/${state.name}`;
    if (state.type === 'Map') checkVariables(state.processor, here, `${at}/ItemProcessor`, problems);
    if (state.type !== 'Parallel') continue;
    for (const [index, branch] of state.branches.entries()) {
      checkVariables(branch, here, `${at}/Branches/${index}`, problems);
    }
  }
}

function assigned(state: State): string[] {
  return conclusions(state).flatMap(([{ assign }]) => {
    if (assign?.kind === 'object') return assign.entries.map(([name]) => name);
    return assign?.kind === 'constant' && isObject(assign.value) ? Object.keys(assign.value) : [];
  });
}

function parseJson(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

function refused(code: string, message: string): Parsed {
  return { ok: false, diagnostics: [{ code, message, location: '' }] };
}
