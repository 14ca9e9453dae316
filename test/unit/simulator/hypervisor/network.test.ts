import { describe, expect, it } from 'vitest';
import { SimulatedNetwork } from '../../../../simulator/hypervisor/network.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

describe('the simulated network', () => {
  it('releases waiting calls when a link is back, whichever end is named first', async () => {
    const clock = new VirtualClock();
    const network = new SimulatedNetwork(clock);
    network.cut('a', 'b');
    let through = false;
    void network.whenUp('b', 'a').then(() => {
      through = true;
    });
    await clock.advance(60_000);
    expect([through, network.isUp('a', 'b'), network.isUp('a', 'c')]).toEqual([false, false, true]);
    network.heal('b', 'a');
    await clock.settle();
    expect([through, network.isUp('a', 'b')]).toEqual([true, true]);
  });

  it('reports silence once it has lasted without a break', async () => {
    const clock = new VirtualClock();
    const network = new SimulatedNetwork(clock);
    let gone = 0;
    const forget = network.onSilence(
      'a',
      'b',
      () => 1_000,
      () => gone++,
    );
    network.cut('a', 'b');
    await clock.advance(900);
    network.heal('a', 'b');
    network.cut('a', 'b');
    await clock.advance(900);
    expect(gone).toBe(0);
    await clock.advance(200);
    expect(gone).toBe(1);
    forget();
    network.heal('a', 'b');
    network.cut('a', 'b');
    await clock.advance(2_000);
    expect(gone).toBe(1);
  });
});
