import { defineConfig } from 'vitest/config';

/** Limits on time are for what hangs: a busy machine takes several times as long as a quiet one. */
const FAST = {
  environment: 'node',
  testTimeout: 60_000,
  hookTimeout: 120_000,
  setupFiles: 'test/fixed-seed.ts',
  // As many as the smallest machine has processors; with one, vitest would run these projects last.
  maxWorkers: 2,
} as const;
const LAB = { environment: 'node', testTimeout: 180_000, hookTimeout: 300_000 } as const;
/** These tests measure blackouts, rates and convergence of emulated guests, and another lab's guests would be measured with them. */
const TIMING = ['blackout', 'forecast', 'migrate', 'steering'].map((name) => `test/lab/${name}.test.ts`);

/**
 * The kinds of tests, from the fastest to the slowest. Each mirrors the folders of what it tests. Groups run one after the other: unit,
 * integration and simulation tests need the processors, lab tests mostly wait for hosts and guests, so that several labs can be up at
 * the same time (each has a subnet of its own).
 */
export default defineConfig({
  test: {
    coverage: {
      provider: 'v8',
      // What unit and integration tests are about; lab/ and bench/ are run by the lab.
      include: ['agent', 'cdk', 'checks', 'cli', 'common', 'contract', 'embedded-aws', 'lambdas'].map(
        (dir) => `${dir}/**/*.ts`,
      ),
      reporter: ['text-summary', 'html'],
      thresholds: { statements: 75, branches: 70, functions: 75, lines: 75 },
    },
    projects: [
      { test: { ...FAST, name: 'unit', include: ['test/unit/**/*.test.ts'], sequence: { groupOrder: 0 } } },
      {
        test: {
          ...FAST,
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...FAST,
          name: 'simulation',
          include: ['test/simulation/**/*.test.ts'],
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...LAB,
          name: 'lab',
          include: ['test/lab/**/*.test.ts'],
          exclude: TIMING,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: { ...LAB, name: 'lab-timing', include: TIMING, fileParallelism: false, sequence: { groupOrder: 2 } },
      },
    ],
  },
});
