import { describe, expect, it } from 'vitest';
import { matchRoute } from '../../../../embedded-aws/http-api/routes.ts';

const keys = [
  '$default',
  'ANY /{proxy+}',
  'GET /hosts',
  'PUT /hosts/{hostId}',
  'ANY /hosts/{hostId}',
  'POST /hosts/{hostId}/evacuate',
  'GET /hosts/all',
  'GET /files/{path+}',
  'GET /',
];
const routes = keys.map((routeKey) => ({ routeKey, integrationId: 'i' }));

describe('matchRoute', () => {
  it.each<[method: string, path: string, routeKey: string, parameters: Record<string, string>]>([
    ['GET', '/hosts', 'GET /hosts', {}],
    ['GET', '/hosts/', 'GET /hosts', {}],
    ['GET', '/', 'GET /', {}],
    ['PUT', '/hosts/kvm-1', 'PUT /hosts/{hostId}', { hostId: 'kvm-1' }],
    ['DELETE', '/hosts/kvm-1', 'ANY /hosts/{hostId}', { hostId: 'kvm-1' }],
    ['GET', '/hosts/all', 'GET /hosts/all', {}],
    ['POST', '/hosts/kvm-1/evacuate', 'POST /hosts/{hostId}/evacuate', { hostId: 'kvm-1' }],
    ['PUT', '/hosts/a%20b', 'PUT /hosts/{hostId}', { hostId: 'a b' }],
    ['GET', '/files/a/b/c', 'GET /files/{path+}', { path: 'a/b/c' }],
    ['POST', '/files/a/b', 'ANY /{proxy+}', { proxy: 'files/a/b' }],
    ['POST', '/', '$default', {}],
  ])('%s %s takes %s', (method, path, routeKey, pathParameters) => {
    const match = matchRoute(routes, method, path);
    expect(match?.route.routeKey).toBe(routeKey);
    expect(match?.pathParameters).toEqual(pathParameters);
  });

  it('does not depend on the order of the routes', () => {
    expect(matchRoute([...routes].reverse(), 'GET', '/hosts/all')?.route.routeKey).toBe('GET /hosts/all');
  });

  it('finds nothing where no route fits', () => {
    const some = [{ routeKey: 'GET /hosts/{hostId}', integrationId: 'i' }];
    expect(matchRoute(some, 'POST', '/hosts/a')).toBeUndefined();
    expect(matchRoute(some, 'GET', '/hosts')).toBeUndefined();
    expect(matchRoute(some, 'GET', '/hosts/a/b')).toBeUndefined();
  });
});
