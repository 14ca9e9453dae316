/** One file imports another; both as paths below the root, with `/`. */
export interface Import {
  from: string;
  to: string;
}

/** An entry of a folder imports another one, by these files. */
export interface Arrow {
  source: string;
  target: string;
  imports: Import[];
}

/** Entries of one folder, files or folders, that import each other in a circle. */
export interface FolderCircle {
  /** The folder they lie in; empty for the root. */
  folder: string;
  entries: string[];
  arrows: Arrow[];
}

/**
 * Looks at each folder as if its entries were single files: an import between two files counts for the entries of the deepest
 * folder that holds both. Circles of files alone are left out; dependency-cruiser reports those.
 */
export function folderCircles(imports: readonly Import[]): FolderCircle[] {
  const byFolder = Map.groupBy(imports, (each) => place(each).folder);
  return [...byFolder]
    .sort(([a], [b]) => a.localeCompare(b))
    .flatMap(([folder, inside]) => circlesOf(arrowsOf(inside)).map((circle) => ({ folder, ...circle })))
    .filter(({ arrows }) => arrows.some(({ imports: [first] }) => first !== undefined && place(first).ofFolders));
}

function arrowsOf(imports: readonly Import[]): Arrow[] {
  const byEnds = Map.groupBy(imports, (each) => JSON.stringify([place(each).source, place(each).target]));
  return [...byEnds.values()].map((group) => {
    const { source, target } = place(group[0]!);
    return { source, target, imports: group };
  });
}

function circlesOf(arrows: readonly Arrow[]): { entries: string[]; arrows: Arrow[] }[] {
  const reachable = new Map(arrows.map(({ source }) => [source, reachableFrom(source, arrows)]));
  const circles: { entries: string[]; arrows: Arrow[] }[] = [];
  for (const [entry, reached] of reachable) {
    if (!reached.has(entry) || circles.some(({ entries }) => entries.includes(entry))) continue;
    const entries = [...reached].filter((other) => reachable.get(other)?.has(entry)).sort();
    const inside = arrows.filter(({ source, target }) => entries.includes(source) && entries.includes(target));
    circles.push({ entries, arrows: inside });
  }
  return circles;
}

function reachableFrom(start: string, arrows: readonly Arrow[]): Set<string> {
  const found = new Set<string>();
  const next = [start];
  for (let entry = next.pop(); entry !== undefined; entry = next.pop()) {
    for (const { source, target } of arrows) {
      if (source !== entry || found.has(target)) continue;
      found.add(target);
      next.push(target);
    }
  }
  return found;
}

/** The deepest folder that holds both files, and the entries of it that the import goes from and to. */
function place({ from, to }: Import): { folder: string; source: string; target: string; ofFolders: boolean } {
  const [left, right] = [from.split('/'), to.split('/')];
  let depth = 0;
  while (depth < left.length - 1 && left[depth] === right[depth]) depth += 1;
  const ofFolders = left.length > depth + 1 || right.length > depth + 1;
  return { folder: left.slice(0, depth).join('/'), source: left[depth]!, target: right[depth]!, ofFolders };
}
