import type { Json, JsonObject } from '../core/service.ts';

/** What the intrinsic functions look things up in. Every lookup throws, naming what it does not know. */
export interface Scope {
  /** A resource's, parameter's or pseudo parameter's `Ref`. */
  ref(name: string): Json;
  attribute(logicalId: string, attribute: string): Json;
  /** A condition of the template, by name. */
  condition(name: string): boolean;
  mapping(map: string, top: string, second: string): Json;
}

/** `{ Ref: 'AWS::NoValue' }`: the property or list element that holds it is left out. */
const NO_VALUE = Symbol('AWS::NoValue');
type Resolved = Json | typeof NO_VALUE;

/** The value with every intrinsic function worked out. Functions that are not known fail by name. */
export function resolve(value: Json, scope: Scope): Json {
  const resolved = evaluate(value, scope);
  return resolved === NO_VALUE ? null : resolved;
}

function evaluate(value: Json, scope: Scope): Resolved {
  if (Array.isArray(value)) return value.map((item) => evaluate(item, scope)).filter((item) => item !== NO_VALUE);
  if (value === null || typeof value !== 'object') return value;
  const [name, ...others] = Object.keys(value);
  if (name !== undefined && others.length === 0) {
    const argument = value[name] as Json;
    if (name === 'Ref') return argument === 'AWS::NoValue' ? NO_VALUE : scope.ref(text(argument, 'Ref'));
    if (name === 'Condition' && typeof argument === 'string') return scope.condition(argument);
    if (name.startsWith('Fn::')) return call(name, argument, scope);
  }
  const result: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    const resolved = evaluate(item, scope);
    if (resolved !== NO_VALUE) result[key] = resolved;
  }
  return result;
}

function call(name: string, argument: Json, scope: Scope): Resolved {
  const of = (part: Json | undefined): Json => resolve(part ?? null, scope);
  const parts = (): Json[] => list(argument, name);
  switch (name) {
    case 'Fn::GetAtt': {
      const [logicalId, ...attribute] = typeof argument === 'string' ? argument.split('.') : parts();
      return scope.attribute(
        text(logicalId, name),
        text(of(attribute.length === 1 ? attribute[0] : attribute.join('.')), name),
      );
    }
    case 'Fn::Join': {
      const [separator, items] = parts();
      return list(of(items), name)
        .map((item) => text(item, name))
        .join(text(separator, name));
    }
    case 'Fn::Sub':
      return substitute(argument, scope);
    case 'Fn::Select': {
      const [index, items] = parts();
      const position = Number(of(index));
      const item = list(of(items), name)[position];
      if (item === undefined) throw new Error(`Fn::Select: there is no item ${position}.`);
      return item;
    }
    case 'Fn::Split': {
      const [separator, whole] = parts();
      return text(of(whole), name).split(text(separator, name));
    }
    case 'Fn::If': {
      const [condition, yes, no] = parts();
      return evaluate((scope.condition(text(condition, name)) ? yes : no) ?? null, scope);
    }
    case 'Fn::Equals': {
      const [left, right] = parts();
      return JSON.stringify(of(left)) === JSON.stringify(of(right));
    }
    case 'Fn::And':
      return parts().every((part) => of(part) === true);
    case 'Fn::Or':
      return parts().some((part) => of(part) === true);
    case 'Fn::Not':
      return of(parts()[0]) !== true;
    case 'Fn::FindInMap': {
      const [map, top, second] = parts().map((part) => text(of(part), name));
      return scope.mapping(map ?? '', top ?? '', second ?? '');
    }
    default:
      throw new Error(`The embedded AWS does not implement the intrinsic function ${name}.`);
  }
}

function substitute(argument: Json, scope: Scope): string {
  const [pattern, variables] = Array.isArray(argument) ? argument : [argument, {}];
  const own = resolve(variables ?? {}, scope) as JsonObject;
  return text(pattern, 'Fn::Sub').replace(/\$\{([^}]*)\}/g, (_, name: string) => {
    if (name.startsWith('!')) return `\${${name.slice(1)}}`;
    if (Object.hasOwn(own, name)) return text(own[name], 'Fn::Sub');
    const dot = name.indexOf('.');
    return text(dot < 0 ? scope.ref(name) : scope.attribute(name.slice(0, dot), name.slice(dot + 1)), 'Fn::Sub');
  });
}

function text(value: Json | undefined, where: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new Error(`${where} needs a string, not ${JSON.stringify(value)}.`);
}

function list(value: Json, where: string): Json[] {
  if (Array.isArray(value)) return value;
  throw new Error(`${where} needs a list, not ${JSON.stringify(value)}.`);
}
