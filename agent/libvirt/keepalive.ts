/**
 * Finds out that a peer is dead though its socket looks open: pings at an interval, and gives it up when `count` pings in
 * a row met silence, so at the latest `intervalMs * (count + 1)` after it fell silent. Anything heard counts as life.
 */
export class Keepalive {
  readonly #timer: NodeJS.Timeout;
  #unanswered = 0;

  constructor(intervalMs: number, count: number, peer: { ping(): void; dead(silentMs: number): void }) {
    this.#timer = setInterval(() => {
      if (this.#unanswered >= count) {
        this.stop();
        peer.dead(intervalMs * (count + 1));
        return;
      }
      this.#unanswered += 1;
      peer.ping();
    }, intervalMs);
  }

  heard(): void {
    this.#unanswered = 0;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
