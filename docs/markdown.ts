const GENERATED = '<!-- Written by `npm run docs`. Edit the source that the page names, not the page. -->';

/** A generated page, from its paragraphs. */
export const page = (title: string, parts: readonly string[]): string =>
  [GENERATED, `# ${title}`, ...parts].join('\n\n').concat('\n');

export const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
