import type { Json } from '../../core/service.ts';
import { EvaluationFailure } from '../common/failures.ts';
import { compileExpression, type Expression, evaluate, type Scope } from './expression.ts';

/** A field's JSON with its expressions compiled. A part without expressions is a constant. */
export type Template =
  | { readonly kind: 'constant'; readonly value: Json }
  | { readonly kind: 'expression'; readonly expression: Expression; readonly field: string }
  | { readonly kind: 'list'; readonly items: readonly Template[] }
  | { readonly kind: 'object'; readonly entries: readonly (readonly [string, Template])[] };

/** The text between `{%` and `%}` when the string is an expression; any other string stands for itself. */
function expressionIn(text: string): string | undefined {
  return text.startsWith('{%') && text.endsWith('%}') && text.length >= 4 ? text.slice(2, -2).trim() : undefined;
}

/** `field` is the template's place within its state (`Arguments/Payload`); what is wrong goes to `complain`, with the place. */
export function compileTemplate(
  value: Json,
  field: string,
  complain: (field: string, message: string) => void,
  check: (expression: Expression, field: string) => void,
): Template {
  if (typeof value === 'string') {
    const source = expressionIn(value);
    if (source === undefined) return { kind: 'constant', value };
    try {
      const expression = compileExpression(source);
      check(expression, field);
      return { kind: 'expression', expression, field };
    } catch (error) {
      complain(field, (error as Error).message);
      return { kind: 'constant', value };
    }
  }
  if (typeof value !== 'object' || value === null) return { kind: 'constant', value };
  if (Array.isArray(value)) {
    const items = value.map((item, index) => compileTemplate(item, `${field}/${index}`, complain, check));
    return items.every(isConstant) ? { kind: 'constant', value } : { kind: 'list', items };
  }
  const entries = Object.entries(value).map(
    ([key, item]) => [key, compileTemplate(item, `${field}/${key}`, complain, check)] as const,
  );
  return entries.every(([, item]) => isConstant(item)) ? { kind: 'constant', value } : { kind: 'object', entries };
}

function isConstant(template: Template): boolean {
  return template.kind === 'constant';
}

/** Throws EvaluationFailure. */
export async function fill(template: Template, scope: Scope): Promise<Json> {
  switch (template.kind) {
    case 'constant':
      return template.value;
    case 'expression':
      try {
        return await evaluate(template.expression, scope);
      } catch (error) {
        const { expression, field } = template;
        throw new EvaluationFailure(
          `The JSONata expression '${expression.source}' specified for the field '${field}' ${(error as Error).message}`,
          field,
        );
      }
    case 'list': {
      const items: Json[] = [];
      for (const item of template.items) items.push(item.kind === 'constant' ? item.value : await fill(item, scope));
      return items;
    }
    case 'object': {
      const entries: [string, Json][] = [];
      for (const [key, item] of template.entries)
        entries.push([key, item.kind === 'constant' ? item.value : await fill(item, scope)]);
      return Object.fromEntries(entries);
    }
  }
}
