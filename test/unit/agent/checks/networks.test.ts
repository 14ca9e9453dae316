import { describe, expect, it } from 'vitest';
import {
  checkBridge,
  checkEnslaved,
  checkInterface,
  checkNetwork,
  requirementOf,
} from '../../../../agent/checks/networks.ts';
import { expectVerdict } from './expect-verdict.ts';

describe('checks of networks', () => {
  it.each([
    ['a bridge', checkBridge('br0', 'bridge'), true],
    ['no such bridge', checkBridge('br0', 'absent'), false],
    ['an interface that is no bridge', checkBridge('br0', 'other'), false],
    ['an interface', checkInterface('eth0', 'other'), true],
    ['no such interface', checkInterface('eth0', 'absent'), false],
    ['an active network', checkNetwork('lan', true), true],
    ['an inactive network', checkNetwork('lan', false), false],
    ['a tap on its bridge', checkEnslaved('br0', 'vnet0', 'br0'), true],
    ['a tap on another bridge', checkEnslaved('br0', 'vnet0', 'br1'), false],
    ['a tap on none', checkEnslaved('br0', 'vnet0', undefined), false],
    ['no tap', checkEnslaved('br0', undefined, undefined), false],
  ])('%s', (_, verdict, passed) => expectVerdict(verdict, passed));
});

it.each([
  ['bridge', { kind: 'bridge', name: 'x' }],
  ['network', { kind: 'network', name: 'x' }],
  ['direct', { kind: 'interface', name: 'x' }],
  ['user', { kind: 'nothing' }],
  ['ethernet', { kind: 'refused', verdict: { found: 'interfaces of type "ethernet" are not supported' } }],
  ['vhostuser', { kind: 'refused' }],
])('an interface of type %s needs %j', (type, need) => {
  expect(requirementOf({ type, source: 'x', bridge: undefined, tap: undefined, mac: undefined })).toMatchObject(need);
});
