/** What can be said from the texts apt and the distribution keep, apart from running apt. */

/** The field of /etc/os-release, unquoted. */
export function osField(osRelease: string, field: string): string | undefined {
  return new RegExp(`^${field}="?([^"\\n]*)"?$`, 'm').exec(osRelease)?.[1];
}

/**
 * The suites whose version of a package is `major` or later, as `apt-cache madison` lists what the sources offer. (Not
 * `policy`: its candidate may be what is installed already, from a suite that the other packages would not come from.)
 */
export function suitesOffering(madison: string, major: number): string[] {
  return madison.split('\n').flatMap((line) => {
    const [, version, source] = line.split('|').map((field) => field.trim());
    const suite = / ([^ /]+)\/\S+ \S+ Packages$/.exec(source ?? '')?.[1];
    return suite !== undefined && Number(/^(?:\d+:)?(\d+)/.exec(version ?? '')?.[1]) >= major ? [suite] : [];
  });
}

/**
 * A source for the suite `<codename>-backports`, like the one of `<codename>` itself that the machine has already: the same
 * mirror, the same key. Undefined when no source of `<codename>` is among `sources` (the texts of deb822 or one-line files).
 */
export function backportsSource(sources: readonly string[], codename: string): string | undefined {
  for (const text of sources) {
    const found = fromStanzas(text, codename) ?? fromLines(text, codename);
    if (found !== undefined) {
      const signed = found.signedBy === undefined ? '' : `Signed-By:${found.signedBy}\n`;
      return `Types: deb\nURIs: ${found.uri}\nSuites: ${codename}-backports\nComponents: main\n${signed}`;
    }
  }
  return undefined;
}

interface Source {
  uri: string;
  /** As it stands after the colon in deb822, leading blank or newline included. */
  signedBy: string | undefined;
}

function fromStanzas(text: string, codename: string): Source | undefined {
  for (const stanza of text.split(/\n\s*\n/)) {
    // A value continues in lines that begin with a blank: a key may be written out in the source.
    const field = (name: string) => new RegExp(`^${name}:(.*(?:\\n[ \\t].*)*)`, 'im').exec(stanza)?.[1]?.trimEnd();
    const suites = field('Suites')?.trim().split(/\s+/) ?? [];
    const uri = field('URIs')?.trim().split(/\s+/)[0];
    const disabled = /^(no|false|off|0)$/i.test(field('Enabled')?.trim() ?? '');
    if (uri !== undefined && suites.includes(codename) && !disabled) return { uri, signedBy: field('Signed-By') };
  }
  return undefined;
}

function fromLines(text: string, codename: string): Source | undefined {
  for (const line of text.split('\n')) {
    const [, options = '', uri, suite] = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)/.exec(line) ?? [];
    const signedBy = /signed-by=(\S+)/.exec(options)?.[1];
    if (uri !== undefined && suite === codename) return { uri, signedBy: signedBy && ` ${signedBy}` };
  }
  return undefined;
}
