import { describe, expect, it } from 'vitest';
import { backportsSource, osField, suitesOffering } from '../../../../lab/hosts/apt.ts';

const DEB822 = `Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
`;

const BACKPORTS = (rest: string) => `Types: deb\nURIs: ${rest}`;

describe('the backports source', () => {
  const suite = 'Suites: bookworm-backports\nComponents: main\n';
  it.each([
    [
      'a deb822 stanza',
      DEB822,
      BACKPORTS(`http://mirror.example/debian\n${suite}Signed-By: /usr/share/keyrings/debian.gpg\n`),
    ],
    [
      'one line with options',
      'deb [arch=amd64 signed-by=/k.gpg] http://m/debian bookworm main contrib\n',
      BACKPORTS(`http://m/debian\n${suite}Signed-By: /k.gpg\n`),
    ],
    ['one line without options', 'deb http://m/debian bookworm main\n', BACKPORTS(`http://m/debian\n${suite}`)],
    ['sources only', 'deb-src http://m/debian bookworm main\n', undefined],
    ['a commented line', '# deb http://m/debian bookworm main\n', undefined],
    ['another release', DEB822.replaceAll('bookworm', 'trixie'), undefined],
    ['a disabled stanza', `Enabled: no\n${DEB822}`, undefined],
  ])('is made from %s', (_, source, expected) => {
    expect(backportsSource(['# nothing here', source], 'bookworm')).toBe(expected);
  });

  it('keeps a key that is written out in the source', () => {
    const key = 'Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ==\n -----END PGP PUBLIC KEY BLOCK-----';
    const source = DEB822.replace('Signed-By: /usr/share/keyrings/debian.gpg', key);
    expect(backportsSource([source], 'bookworm')).toContain(key);
  });
});

it.each([
  ['PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', 'ID', 'debian'],
  ['PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', 'PRETTY_NAME', 'Debian GNU/Linux 12 (bookworm)'],
  ['VERSION_ID="12"\n', 'ID', undefined],
])('%j has the field %s', (text, field, value) => {
  expect(osField(text, field)).toBe(value);
});

it('takes only suites whose QEMU is new enough', () => {
  const madison = `qemu-system-x86 | 1:10.0.2+ds-2~bpo12+1 | http://m/debian bookworm-backports/main amd64 Packages
qemu-system-x86 | 1:7.2+dfsg-7 | http://m/debian bookworm/main amd64 Packages
qemu-system-x86 | 1:9.0 | http://m/debian trixie/main Sources
`;
  expect(suitesOffering(madison, 9)).toEqual(['bookworm-backports']);
  expect(suitesOffering(madison, 7)).toEqual(['bookworm-backports', 'bookworm']);
  expect(suitesOffering('', 9)).toEqual([]);
});
