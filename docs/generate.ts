/** `npm run docs`: writes the reference pages that are generated from the code. test/unit/docs fails when one is stale. */
import { writeFileSync } from 'node:fs';
import { generatedPages } from './reference-pages.ts';

for (const { path, text } of generatedPages()) writeFileSync(new URL(path, import.meta.url), text);
