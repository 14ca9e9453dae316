/**
 * Whether a value matches a pattern in which `*` stands for any characters and `?` for one; `${*}`, `${?}` and `${$}`
 * stand for themselves.
 */
export function matchesPattern(value: string, pattern: string): boolean {
  return compiled(pattern)(value);
}

/** ARNs are compared part by part, so that a wildcard never reaches over the colon into the next part. */
export function matchesArn(arn: string, pattern: string): boolean {
  if (pattern === '*' || (arn === pattern && !SPECIAL.test(pattern))) return true;
  const parts = partsOf(arn);
  const patterns = partsOf(pattern);
  return parts.length === patterns.length && parts.every((part, i) => matchesPattern(part, patterns[i]!));
}

const SPECIAL = /[*?$]/;

/** The sixth part, the resource, may hold colons itself. */
const partsOf = cached((arn: string): readonly string[] => {
  const parts = arn.split(':');
  return [...parts.slice(0, 5), ...(parts.length > 5 ? [parts.slice(5).join(':')] : [])];
});

/** The text a pattern stands for where wildcards mean nothing, as in StringEquals. */
export function literal(pattern: string): string {
  return pattern.replace(/\$\{([*?$])\}/g, '$1');
}

/**
 * Puts values in the place of policy variables such as `${aws:userid}` or `${aws:userid, 'nobody'}`. Wildcards inside a
 * value become literal. Undefined when a variable has no value: then the policy's element matches nothing.
 */
export function expanded(pattern: string, variable: (key: string) => string | undefined): string | undefined {
  if (!pattern.includes('${')) return pattern;
  let complete = true;
  const text = pattern.replace(/\$\{([^*?$}][^}]*)\}/g, (_, reference: string) => {
    const [, key, fallback] = /^([^,\s]+)(?:\s*,\s*'(.*)')?$/s.exec(reference) ?? [];
    const value = (key === undefined ? undefined : variable(key)) ?? fallback;
    if (value === undefined) complete = false;
    return (value ?? '').replace(/[*?$]/g, (wildcard) => `\${${wildcard}}`);
  });
  return complete ? text : undefined;
}

/** Patterns come from policies, and so do most values in them, but a variable may have ever new ones. */
const CACHE_LIMIT = 10_000;

function cached<T>(make: (text: string) => T): (text: string) => T {
  const cache = new Map<string, T>();
  return (text) => {
    let made = cache.get(text);
    if (made === undefined) {
      made = make(text);
      if (cache.size >= CACHE_LIMIT) cache.clear();
      cache.set(text, made);
    }
    return made;
  };
}

const compiled = cached((pattern): ((value: string) => boolean) => {
  if (!SPECIAL.test(pattern)) return (value) => value === pattern;
  const source = pattern.replace(/\$\{([*?$])\}|[*?]|[.+^${}()|[\]\\]/g, (token, escaped?: string) => {
    if (token === '*') return '.*';
    if (token === '?') return '.';
    return `\\${escaped ?? token}`;
  });
  const expression = new RegExp(`^${source}$`, 's');
  return (value) => expression.test(value);
});
