import { describe, it } from 'vitest';
import {
  checkDevices,
  checkHostsDiffer,
  checkNoOtherJob,
  checkNotHereYet,
  checkRunning,
} from '../../../../agent/checks/guest.ts';
import type { JobStats } from '../../../../agent/hypervisor.ts';
import { expectVerdict } from './expect-verdict.ts';

describe('checks of the guest', () => {
  it.each([
    ['running', checkRunning('running', 'running (booted)'), true],
    ['paused', checkRunning('paused', 'paused (user)'), false],
    ['shut off', checkRunning('shutoff', 'shut off (destroyed)'), false],
    ['no job', checkNoOtherJob(undefined), true],
    ['a job', checkNoOtherJob({ operation: 'other' } as JobStats), false],
    ['no host-bound device', checkDevices([]), true],
    ['a host-bound device', checkDevices(['hostdev pci']), false],
    ['two hosts', checkHostsDiffer('a', 'b'), true],
    ['one host', checkHostsDiffer('a', 'a'), false],
    ['no copy yet', checkNotHereYet([]), true],
    ['a definition only', checkNotHereYet([{ name: 'web', state: 'shutoff' }]), true],
    ['a running namesake', checkNotHereYet([{ name: 'web', state: 'running' }]), false],
    ['a copy being received', checkNotHereYet([{ name: 'web', state: 'incoming' }]), false],
  ])('%s', (_, verdict, passed) => expectVerdict(verdict, passed));
});
