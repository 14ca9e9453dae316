import { XMLParser } from 'fast-xml-parser';
import { expect, it } from 'vitest';
import { terminalSvg } from '../../../../lab/demo/terminal-svg.ts';

it('draws each line as text, escaped, with the caption last', () => {
  const svg = terminalSvg(['$ a < b && c', '', '  kvm1 -> kvm2'], 'a caption');
  const drawn = new XMLParser({ trimValues: false, ignoreAttributes: true }).parse(svg).svg.text;
  expect(drawn).toEqual(['$ a < b && c', '', '  kvm1 -> kvm2', '', 'a caption']);
});
