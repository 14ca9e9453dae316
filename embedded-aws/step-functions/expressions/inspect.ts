/**
 * What Step Functions forbids in a JSONata expression although JSONata itself would take it. There is no input document, so
 * `$$`, and `$` or a bare field name outside of a path, a predicate or a sort, can only ever be undefined: almost always
 * somebody meant `$states.input...`.
 */
export interface Inspection {
  /** Every variable and function named, without the `$`. */
  readonly variables: ReadonlySet<string>;
  /** The fields of `$states` that are read. */
  readonly statesFields: ReadonlySet<string>;
  readonly complaints: readonly string[];
}

interface Node {
  type?: string;
  value?: unknown;
  steps?: Node[];
  group?: { lhs: [Node, Node][] };
  stages?: { expr?: Node }[];
  predicate?: { expr?: Node }[];
  terms?: { expression: Node }[];
  lhs?: Node | [Node, Node][];
  [child: string]: unknown;
}

const CHILDREN = ['expressions', 'arguments', 'procedure', 'expression', 'condition', 'then', 'else', 'body', 'rhs'];
const CHILDREN_IN_CONTEXT = ['pattern', 'update', 'delete'];
const STATES_FIELDS = new Set(['input', 'result', 'errorOutput', 'context']);

export function inspect(ast: unknown): Inspection {
  const variables = new Set<string>();
  const statesFields = new Set<string>();
  const complaints: string[] = [];

  const variable = (name: string, inContext: boolean) => {
    if (name === '$') complaints.push('$$ has no meaning, because there is no input document; use $states.input');
    else if (name === '' && !inContext) complaints.push('$ is not allowed at the top level; use $states.input');
    else if (name === 'eval') complaints.push('$eval is not supported; use $parse to read JSON text');
    else if (name !== '') variables.add(name);
  };

  const walk = (node: Node, inContext: boolean): void => {
    switch (node.type) {
      case 'variable':
        variable(String(node.value), inContext);
        break;
      case 'name':
        if (!inContext) {
          complaints.push(
            `the field name "${node.value}" is not allowed at the top level; use $states.input.${node.value}`,
          );
        }
        break;
      case 'wildcard':
      case 'descendant':
        if (!inContext) complaints.push(`${node.value} is not allowed at the top level; begin with $states.input`);
        break;
      case 'path':
        statesField(node.steps!);
        node.steps!.forEach((step, index) => {
          walk(step, inContext || index > 0);
        });
        break;
    }
    for (const { expr } of [...(node.stages ?? []), ...(node.predicate ?? [])]) if (expr) walk(expr, true);
    for (const { expression } of node.terms ?? []) walk(expression, true);
    for (const pair of node.group?.lhs ?? []) for (const side of pair) walk(side, true);
    for (const side of [node.lhs ?? []].flat(2)) walk(side, inContext);
    for (const child of CHILDREN) for (const each of nodes(node[child])) walk(each, inContext);
    for (const child of CHILDREN_IN_CONTEXT) for (const each of nodes(node[child])) walk(each, true);
  };

  const statesField = ([first, second]: Node[]) => {
    if (first?.type !== 'variable' || first.value !== 'states' || second?.type !== 'name') return;
    const field = String(second.value);
    statesFields.add(field);
    if (!STATES_FIELDS.has(field)) {
      complaints.push(`$states.${field} does not exist; $states has ${[...STATES_FIELDS].join(', ')}`);
    }
  };

  walk(ast as Node, false);
  return { variables, statesFields, complaints };
}

function nodes(child: unknown): Node[] {
  return [child].flat().filter((each): each is Node => typeof each === 'object' && each !== null);
}
