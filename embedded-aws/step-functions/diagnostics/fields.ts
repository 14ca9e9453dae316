import type { Json, JsonObject } from '../../core/service.ts';
import { compileTemplate, type Template } from '../expressions/template.ts';

/** One thing wrong with a definition, as ValidateStateMachineDefinition reports it. */
export interface Diagnostic {
  readonly code: string;
  readonly message: string;
  /** JSON pointer of the field, such as `/States/Copy/Next`. */
  readonly location: string;
}

export type Problems = Diagnostic[];

/** Which fields of `$states` beside `input` and `context` exist where an expression stands. */
export type Sees = 'nothing more' | 'result' | 'errorOutput';

/**
 * Reads one object of a definition field by field and notes everything that is wrong with it, so that the author hears of
 * all mistakes at once. What a getter returns after a complaint is a placeholder: the definition is not used then.
 */
export class Fields {
  readonly location: string;
  readonly #object: JsonObject;
  readonly #problems: Problems;
  /** The field's place within its state, as error messages at run time give it. */
  readonly #place: string;

  constructor(object: JsonObject, location: string, problems: Problems, place = '') {
    this.#object = object;
    this.location = location;
    this.#problems = problems;
    this.#place = place;
  }

  complain(field: string, message: string, code = 'SCHEMA_VALIDATION_FAILED'): void {
    this.#problems.push({ code, message, location: field === '' ? this.location : `${this.location}/${field}` });
  }

  has(field: string): boolean {
    return this.#object[field] !== undefined;
  }

  /** Complains about every field not in `allowed`; `known` says why a known one is refused. */
  only(allowed: readonly string[], known: ReadonlyMap<string, string> = new Map()): void {
    for (const field of Object.keys(this.#object)) {
      if (!allowed.includes(field)) this.complain(field, known.get(field) ?? `the field "${field}" is not supported`);
    }
  }

  text(field: string): string | undefined {
    return this.#typed(field, 'a string', (value) => (typeof value === 'string' ? value : undefined));
  }

  requiredText(field: string): string {
    return this.#required(field, this.text(field)) ?? '';
  }

  flag(field: string): boolean | undefined {
    return this.#typed(field, 'true or false', (value) => (typeof value === 'boolean' ? value : undefined));
  }

  number(field: string, { least, most, whole }: { least: number; most: number; whole: boolean }): number | undefined {
    const kind = `${whole ? 'a whole number' : 'a number'} from ${least} to ${most}`;
    return this.#typed(field, kind, (value) =>
      typeof value === 'number' && value >= least && value <= most && (!whole || Number.isInteger(value))
        ? value
        : undefined,
    );
  }

  texts(field: string): string[] {
    const texts = this.#typed(field, 'an array of strings', (value) =>
      Array.isArray(value) && value.every((item) => typeof item === 'string') ? (value as string[]) : undefined,
    );
    return this.#required(field, texts) ?? [];
  }

  object(field: string): Fields | undefined {
    const object = this.#typed(field, 'an object', (value) => (isObject(value) ? value : undefined));
    return object && this.#inner(object, field);
  }

  /** The same, for a state: from here on, places at run time are places within that state. */
  state(name: string): Fields | undefined {
    const object = this.#typed(name, 'an object', (value) => (isObject(value) ? value : undefined));
    return object && new Fields(object, `${this.location}/${name}`, this.#problems);
  }

  objects(field: string): Fields[] {
    const objects = this.#typed(field, 'an array of objects', (value) =>
      Array.isArray(value) && value.every(isObject) ? value : undefined,
    );
    return (objects ?? []).map((object, index) => this.#inner(object, `${field}/${index}`));
  }

  /** The names of this object's own members. */
  names(): string[] {
    return Object.keys(this.#object);
  }

  template(field: string, sees: Sees): Template | undefined {
    const value = this.#object[field];
    return value === undefined ? undefined : this.#compile(field, value, sees);
  }

  /** A template that must be a constant of the given type, or one expression that is expected to give it. */
  scalar(field: string, type: 'string' | 'number' | 'boolean', sees: Sees = 'nothing more'): Template | undefined {
    const template = this.template(field, sees);
    const fits = template?.kind === 'expression' || (template?.kind === 'constant' && typeof template.value === type);
    if (template && !fits) this.complain(field, `"${field}" must be a ${type} or a JSONata expression`);
    return template;
  }

  requiredOne<T>(field: string, value: T | undefined): T | undefined {
    return this.#required(field, value);
  }

  #compile(field: string, value: Json, sees: Sees): Template {
    const within = (place: string) => place.slice(this.#place.length);
    return compileTemplate(
      value,
      `${this.#place}${field}`,
      (place, message) => this.complain(within(place), message),
      ({ statesFields }, place) => {
        for (const name of ['result', 'errorOutput']) {
          if (statesFields.has(name) && sees !== name) {
            this.complain(within(place), `$states.${name} does not exist here`);
          }
        }
      },
    );
  }

  #inner(object: JsonObject, field: string): Fields {
    return new Fields(object, `${this.location}/${field}`, this.#problems, `${this.#place}${field}/`);
  }

  #typed<T>(field: string, kind: string, read: (value: Json) => T | undefined): T | undefined {
    const value = this.#object[field];
    if (value === undefined) return undefined;
    const typed = read(value);
    if (typed === undefined) this.complain(field, `"${field}" must be ${kind}`);
    return typed;
  }

  #required<T>(field: string, value: T | undefined): T | undefined {
    if (!this.has(field)) this.complain(field, `"${field}" is missing`);
    return value;
  }
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
