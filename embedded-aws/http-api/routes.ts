export interface Route {
  /** `GET /migrations/{id}`, `ANY /{proxy+}` or `$default`. */
  routeKey: string;
  integrationId: string;
}

export interface RouteMatch {
  route: Route;
  pathParameters: Record<string, string>;
}

/**
 * The route API Gateway would choose: the path's own characters before `{variables}`, those before a greedy `{proxy+}`, a
 * named method before ANY, and `$default` last of all.
 */
export function matchRoute(routes: readonly Route[], method: string, path: string): RouteMatch | undefined {
  let best: (RouteMatch & { rank: string }) | undefined;
  for (const route of routes) {
    const found = matchOne(route, method, path);
    if (found !== undefined && (best === undefined || found.rank < best.rank)) best = found;
  }
  return best && { route: best.route, pathParameters: best.pathParameters };
}

/** The smaller the rank, the better the match; ranks compare as text, segment by segment. */
function matchOne(route: Route, method: string, path: string): (RouteMatch & { rank: string }) | undefined {
  if (route.routeKey === '$default') return { route, pathParameters: {}, rank: '9' };
  const [wantedMethod = '', wantedPath = ''] = route.routeKey.split(' ');
  if (wantedMethod !== 'ANY' && wantedMethod !== method) return undefined;
  const wanted = segmentsOf(wantedPath);
  const given = segmentsOf(path);
  const pathParameters: Record<string, string> = {};
  let rank = '';
  for (const [index, segment] of wanted.entries()) {
    const variable = /^\{([^}+]+)(\+?)\}$/.exec(segment);
    const value = given[index];
    if (value === undefined || value === '') return undefined;
    if (variable === null) {
      if (segment !== value) return undefined;
      rank += '0';
      continue;
    }
    const [, name = '', greedy] = variable;
    if (greedy === '+') {
      pathParameters[name] = decode(given.slice(index).join('/'));
      return { route, pathParameters, rank: `${rank}2${methodRank(wantedMethod)}` };
    }
    pathParameters[name] = decode(value);
    rank += '1';
  }
  return given.length === wanted.length
    ? { route, pathParameters, rank: `${rank}${methodRank(wantedMethod)}` }
    : undefined;
}

const methodRank = (method: string) => (method === 'ANY' ? '1' : '0');

/** A trailing slash does not make another path; the root has no segments. */
const segmentsOf = (path: string): string[] => {
  const trimmed = path.replace(/^\//, '').replace(/\/$/, '');
  return trimmed === '' ? [] : trimmed.split('/');
};

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
