import { cruise, type ICruiseResult, type IViolation } from 'dependency-cruiser';
import { dependencyRules } from './dependency-rules.ts';
import { type FolderCircle, folderCircles } from './folder-circles.ts';

const NOT_SOURCE = '^(\\.|cdk\\.out/|coverage/|dist/)';

/**
 * Reads the imports of all code below `root` (type imports count) and returns what breaks the rules, one text each.
 *
 * swc reads the files: dependency-cruiser can't use TypeScript 7, which has no programming interface yet. Circles of folders are
 * found here: dependency-cruiser takes a file in a folder that imports a file from a folder inside it for a circle of the two.
 */
export async function dependencyViolations(root: string): Promise<string[]> {
  const { output } = await cruise(['.'], {
    baseDir: root,
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: NOT_SOURCE },
    validate: true,
    ruleSet: { forbidden: dependencyRules },
  });
  const { modules, summary } = output as ICruiseResult;
  const imports = modules.flatMap(({ source: from, dependencies }) =>
    dependencies.filter(({ followable }) => followable).map(({ resolved: to }) => ({ from, to })),
  );
  return [...summary.violations.map(violationText), ...folderCircles(imports).map(circleText)];
}

function violationText({ rule, from, to, cycle }: IViolation): string {
  const comment = dependencyRules.find(({ name }) => name === rule.name)?.comment;
  const path = cycle === undefined ? [to] : cycle.map(({ name }) => name);
  return `${rule.name}: ${[from, ...path].join(' -> ')}\n  ${comment}`;
}

function circleText({ folder, entries, arrows }: FolderCircle): string {
  const lines = arrows.map(({ source, target, imports: [first, ...more] }) => {
    const others = more.length === 0 ? '' : ` and ${more.length} more`;
    return `  ${source} -> ${target}: ${first?.from} -> ${first?.to}${others}`;
  });
  return [`no-folder-circle: ${folder === '' ? '.' : folder}/: ${entries.join(', ')}`, ...lines].join('\n');
}
