import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';

/** Every Markdown file of the repository, new ones included. */
const PAGES = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], {
  encoding: 'utf8',
})
  .trim()
  .split('\n')
  .filter((path) => existsSync(path));

const withoutCode = (markdown: string): string => markdown.replace(/^```.*?^```/gms, '').replace(/`[^`\n]*`/g, '');

/** The anchor that GitHub gives a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');

const anchorsOf = (path: string): string[] =>
  [...readFileSync(path, 'utf8').matchAll(/^#+ +(.+?)\s*$/gm)].map(([, heading]) => anchorOf(heading!));

it.each(PAGES)('all relative links of %s resolve', (page) => {
  const links = [...withoutCode(readFileSync(page, 'utf8')).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
  const broken = links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [path, anchor] = link.split('#');
    const target = path === '' ? page : join(dirname(page), path!);
    return !existsSync(target) || (anchor !== undefined && !anchorsOf(target).includes(anchor));
  });
  expect(broken).toEqual([]);
});

it.each(PAGES)('every source file that %s names is there', (page) => {
  const named = [...readFileSync(page, 'utf8').matchAll(/`((?:\w[\w-]*\/)+[\w.-]+\.(?:ts|c|md))`/g)].map(
    ([, path]) => path!,
  );
  expect(named.filter((path) => !existsSync(path))).toEqual([]);
});

it('every page under docs/ can be reached from docs/README.md', () => {
  const reached = new Set<string>();
  const visit = (page: string): void => {
    if (reached.has(page)) return;
    reached.add(page);
    for (const [, link] of readFileSync(page, 'utf8').matchAll(/\]\(([^)\s#]+\.md)(#[^)]*)?\)/g)) {
      const target = join(dirname(page), link!);
      if (existsSync(target)) visit(target);
    }
  };
  visit('docs/README.md');
  expect(PAGES.filter((page) => page.startsWith('docs/') && !reached.has(page))).toEqual([]);
});

it('the README fits on a few screens', () => {
  expect(readFileSync('README.md', 'utf8').trimEnd().split('\n').length).toBeLessThanOrEqual(150);
});
