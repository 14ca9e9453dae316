import { AwsError, type Json, type JsonObject, notImplemented } from '../core/service.ts';

interface ParameterType {
  type: string;
  default?: Json;
  allowedPattern?: string;
  allowedValues?: Json[];
  minChars?: number;
  maxChars?: number;
  interpolationType?: string;
  description?: string;
}

/** A Command document as far as it is run here: one step of `aws:runShellScript`. */
export interface CommandDocument {
  name: string;
  parameters: Record<string, ParameterType>;
  lines: string[];
  /** Seconds the script may run. */
  executionTimeout: string;
}

/** The values of a command's parameters, as SendCommand and the events carry them: lists, of one string each. */
export type ParameterValues = Record<string, string[]>;

/** Reads a document's content. What it holds beyond what is run here fails by name. */
export function readDocument(name: string, content: Json): CommandDocument {
  const document = (typeof content === 'string' ? JSON.parse(content) : content) as JsonObject;
  const unknown = (what: string) => notImplemented(`${what} in an SSM document (${name})`);
  if (document.schemaVersion !== '2.2') throw unknown(`schemaVersion ${String(document.schemaVersion)}`);
  const steps = (document.mainSteps ?? []) as JsonObject[];
  const [step] = steps;
  if (step === undefined || steps.length > 1) throw unknown('anything but exactly one step');
  if (step.action !== 'aws:runShellScript') throw unknown(`the action ${String(step.action)}`);
  if (!runsOnLinux(step.precondition)) throw unknown('a precondition other than platformType Linux');

  const parameters = (document.parameters ?? {}) as unknown as Record<string, ParameterType>;
  for (const [parameter, { type, interpolationType }] of Object.entries(parameters)) {
    if (type !== 'String') throw unknown(`the type ${type} of parameter ${parameter}`);
    if (interpolationType !== undefined && interpolationType !== 'ENV_VAR')
      throw unknown(`interpolationType ${interpolationType}`);
  }
  const inputs = step.inputs as JsonObject;
  return {
    name,
    parameters,
    lines: inputs.runCommand as string[],
    executionTimeout: String(inputs.timeoutSeconds ?? ''),
  };
}

const runsOnLinux = (precondition: Json | undefined) =>
  precondition === undefined || JSON.stringify(precondition) === '{"StringEquals":["platformType","Linux"]}';

/** The command's parameters with the document's defaults; throws InvalidParameters, as SendCommand does. */
export function checkParameters(document: CommandDocument, given: JsonObject): ParameterValues {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(document.parameters, name))
      throw invalid(`Parameter ${name} is not a parameter of ${document.name}.`);
  }
  const values = Object.entries(document.parameters).map(([name, type]): [string, string[]] => {
    const value = given[name] ?? (type.default === undefined ? undefined : [String(type.default)]);
    if (value === undefined) throw invalid(`Parameter ${name} requires a value.`);
    if (!Array.isArray(value) || value.length !== 1 || typeof value[0] !== 'string') {
      throw invalid(`Parameter ${name} is a String and takes a list of exactly one string.`);
    }
    checkValue(name, type, value[0]);
    return [name, [value[0]]];
  });
  return Object.fromEntries(values);
}

function checkValue(name: string, type: ParameterType, value: string): void {
  const { allowedPattern, allowedValues, minChars, maxChars } = type;
  if (allowedPattern !== undefined && !compiled(allowedPattern).test(value)) {
    throw invalid(`Parameter ${name} does not match the allowed pattern ${allowedPattern}.`);
  }
  if (allowedValues !== undefined && !allowedValues.includes(value)) {
    throw invalid(`Parameter ${name} must be one of ${allowedValues.join(', ')}.`);
  }
  if (value.length < (minChars ?? 0) || value.length > (maxChars ?? Number.POSITIVE_INFINITY)) {
    throw invalid(`Parameter ${name} must have ${minChars ?? 0} to ${maxChars ?? 'any number of'} characters.`);
  }
}

/** The same few come with every command. */
const patterns = new Map<string, RegExp>();

function compiled(source: string, flags = ''): RegExp {
  const pattern = patterns.get(source) ?? new RegExp(source, flags);
  patterns.set(source, pattern);
  return pattern;
}

const invalid = (message: string) => new AwsError('InvalidParameters', message);

export interface RenderedScript {
  script: string;
  env: Record<string, string>;
  timeoutSeconds: number;
}

/**
 * The script and the environment a command amounts to. A parameter of `interpolationType: ENV_VAR` arrives as the variable
 * `SSM_<name>`; any other is pasted into the script's text, before the shell sees it.
 */
export function renderScript(document: CommandDocument, values: ParameterValues): RenderedScript {
  const env: Record<string, string> = {};
  let script = document.lines.join('\n');
  for (const [name, [value = '']] of Object.entries(values)) {
    if (document.parameters[name]?.interpolationType === 'ENV_VAR') env[`SSM_${name}`] = value;
    script = script.replaceAll(compiled(`\\{\\{\\s*${name}\\s*\\}\\}`, 'g'), () => value);
  }
  const timeout = /\{\{\s*(\w+)\s*\}\}/.exec(document.executionTimeout)?.[1];
  const executionTimeout = timeout === undefined ? document.executionTimeout : (values[timeout]?.[0] ?? '');
  return { script, env, timeoutSeconds: executionTimeoutSeconds(executionTimeout) };
}

const DEFAULT_EXECUTION_SECONDS = 3_600;

/** The SSM agent takes 5 s to 48 h, and silently makes 3,600 s of anything else. */
function executionTimeoutSeconds(text: string): number {
  const seconds = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return seconds >= 5 && seconds <= 172_800 ? seconds : DEFAULT_EXECUTION_SECONDS;
}
