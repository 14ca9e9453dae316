import { expect, it } from 'vitest';
import { table } from '../../../common/text-table.ts';

it('aligns the columns of a table, and leaves no blanks at the ends of lines', () => {
  const rows = [
    ['HOST', 'STATE', 'OUT'],
    ['rack4-kvm07', 'ACTIVE', ''],
    ['a', 'IN_MAINTENANCE', '1/2'],
  ];
  expect(table(rows)).toBe(
    ['HOST         STATE           OUT', 'rack4-kvm07  ACTIVE', 'a            IN_MAINTENANCE  1/2'].join('\n'),
  );
  expect(table([])).toBe('');
});
