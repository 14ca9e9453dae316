import { dirname } from 'node:path';
import { dependencyViolations } from './dependencies.ts';

/** Part of `npm run check`: fails when an import breaks the rules of the layout. */
const violations = await dependencyViolations(dirname(import.meta.dirname));
for (const violation of violations) console.error(violation);
if (violations.length > 0) process.exitCode = 1;
