const FONT_SIZE = 13;
const LINE_HEIGHT = 18;
/** Of the usual monospace fonts, as a part of the font size. */
const CHARACTER_WIDTH = 0.602 * FONT_SIZE;
const PADDING = 16;

/** Lines of text as a picture of a terminal, with a caption below. */
export function terminalSvg(lines: readonly string[], caption: string): string {
  const rows = [...lines, '', caption];
  const columns = Math.max(...rows.map((row) => row.length));
  const width = Math.ceil(columns * CHARACTER_WIDTH) + 2 * PADDING;
  const height = rows.length * LINE_HEIGHT + 2 * PADDING;
  const texts = rows.map((row, index) => {
    const y = PADDING + FONT_SIZE + index * LINE_HEIGHT;
    const colour = index === rows.length - 1 ? '#8b949e' : '#e6edf3';
    return `<text x="${PADDING}" y="${y}" fill="${colour}" xml:space="preserve">${escaped(row)}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`,
    `  font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${FONT_SIZE}">`,
    `<rect width="100%" height="100%" rx="8" fill="#0d1117"/>`,
    ...texts,
    '</svg>',
    '',
  ].join('\n');
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
