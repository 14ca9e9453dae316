import type { DependencyType, IForbiddenRuleType } from 'dependency-cruiser';

/**
 * What each top-level folder may import of the others: folders, or single files. `test` may import everything. A folder that is
 * not listed may import nothing of ours, so that a new one gets a line here before it grows.
 */
const ALLOWED: Record<string, readonly string[]> = {
  contract: [],
  common: ['contract/'],
  agent: ['common/', 'contract/'],
  lambdas: ['common/', 'contract/'],
  cdk: ['common/', 'contract/', 'lambdas/'],
  cli: ['common/', 'contract/'],
  'embedded-aws': ['common/clock.ts', 'common/pseudo-random.ts'],
  simulator: ['agent/', 'cdk/', 'common/', 'contract/', 'embedded-aws/', 'lambdas/'],
  lab: [
    'agent/',
    'cdk/',
    'cli/',
    'common/',
    'contract/',
    'embedded-aws/',
    'lambdas/platform/control-keys.ts',
    'simulator/',
  ],
  bench: ['agent/', 'cdk/', 'cli/', 'common/', 'contract/', 'embedded-aws/', 'lab/', 'lambdas/', 'simulator/'],
  checks: [],
  docs: ['agent/', 'cdk/', 'cli/', 'common/', 'contract/', 'embedded-aws/', 'lab/', 'lambdas/', 'simulator/'],
};

/** Commands read their version from it. */
const MANIFEST = '^package\\.json$';

const inside = (folder: string): string => `^${folder}/`;

export const dependencyRules: IForbiddenRuleType[] = [
  {
    name: 'no-import-from-test',
    comment:
      'Code that others need belongs into the folder that it is about; test/ holds tests and their support alone.',
    from: { pathNot: inside('test') },
    to: { path: inside('test') },
  },
  {
    name: 'no-file-circle',
    comment: 'Move what both files need into a third one, or hand it in as a parameter.',
    from: {},
    to: { circular: true },
  },
  ...Object.entries(ALLOWED).map(([folder, allowed]) => ({
    name: `direction-of-${folder}`,
    comment: `${folder}/ may import ${allowed.join(', ') || 'no other folder'}.`,
    from: { path: inside(folder) },
    to: {
      dependencyTypes: ['local'] as DependencyType[],
      pathNot: [inside(folder), inside('test'), MANIFEST, ...allowed.map((path) => `^${path}`)],
    },
  })),
  {
    name: 'direction-of-unlisted-folder',
    comment: 'List the folder in checks/dependency-rules.ts, with the folders that it may import.',
    from: { path: '^([^/]+)/', pathNot: ['test', ...Object.keys(ALLOWED)].map(inside) },
    to: { dependencyTypes: ['local'], pathNot: [inside('$1'), inside('test')] },
  },
  {
    name: 'contract-needs-zod-only',
    comment: 'The contract is read by every program of Handoff, and must run in each of them.',
    from: { path: inside('contract') },
    to: { dependencyTypesNot: ['local'], pathNot: '(^|/)zod(/|$)' },
  },
];
