import type { Fields, Sees } from '../diagnostics/fields.ts';
import type { Template } from '../expressions/template.ts';
import type { Conclusion } from './definition.ts';

const VARIABLE_NAME = /^[\p{ID_Start}_][\p{ID_Continue}]{0,79}$/u;

/** Output and Assign. */
export function parseConclusion(fields: Fields, sees: Sees): Conclusion {
  const output = fields.template('Output', sees);
  const assign = parseAssign(fields, sees);
  return { ...(output && { output }), ...(assign && { assign }) };
}

function parseAssign(fields: Fields, sees: Sees): Template | undefined {
  for (const name of fields.object('Assign')?.names() ?? []) {
    if (!VARIABLE_NAME.test(name) || name === 'states') {
      fields.complain(
        `Assign/${name}`,
        `"${name}" cannot be assigned: a variable's name is a letter or _ followed by at most 79 letters, digits and _, and not "states"`,
      );
    }
  }
  return fields.template('Assign', sees);
}
