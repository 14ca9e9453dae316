import { expect, it } from 'vitest';
import { addressOf, nodesOf, planLab } from '../../../../lab/hosts/plan.ts';

it('plans hosts and addresses', () => {
  const plan = planLab({ name: 'x', subnet: '10.1.2', hosts: 3 });
  expect(nodesOf(plan).map((node) => [node, addressOf(plan, node)])).toEqual([
    ['rack', '10.1.2.10'],
    ['client', '10.1.2.20'],
    ['kvm1', '10.1.2.11'],
    ['kvm2', '10.1.2.12'],
    ['kvm3', '10.1.2.13'],
  ]);
});

it.each([
  [{ name: 'Tests' }, 'lab name "Tests"'],
  [{ name: 'toolonganame' }, 'lab name'],
  [{ subnet: '10.81' }, 'subnet "10.81"'],
  [{ hosts: 1 }, '1 hosts'],
])('refuses %j', (options, message) => {
  expect(() => planLab({ name: 'x', subnet: '10.1.2', ...options })).toThrow(message);
});

it('gives the longest name an interface name that the kernel takes', () => {
  expect(planLab({ name: 'seven77', subnet: '10.1.2' }).uplink.length).toBeLessThanOrEqual(15);
});
