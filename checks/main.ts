import { dirname } from 'node:path';
import { dependencyViolations } from './dependencies.ts';
import { KNOWN_VIOLATIONS } from './known-violations.ts';

/** Part of `npm run check`: fails when an import breaks the rules of the layout. */
const violations = await dependencyViolations(dirname(import.meta.dirname));
const refused = violations.filter((violation) => !KNOWN_VIOLATIONS.some((known) => violation.startsWith(known)));
for (const violation of refused) console.error(violation);
if (refused.length > 0) process.exitCode = 1;
