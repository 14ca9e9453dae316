import { readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { rulesPage } from '../../../../common/ownership/rules-page.ts';

const PAGE = new URL('../../../../docs/reference/recovery-rules.md', import.meta.url);

it('docs/reference/recovery-rules.md is what the rules render (HANDOFF_WRITE_DOCS=1 writes the page)', () => {
  if (process.env.HANDOFF_WRITE_DOCS === '1') writeFileSync(PAGE, rulesPage());
  expect(readFileSync(PAGE, 'utf8')).toBe(rulesPage());
});
