import type { Movers } from '../../agent/deps.ts';
import type { MigrationTarget } from '../../agent/hypervisor.ts';
import type { Mailbox } from '../../agent/mailbox.ts';
import { Mover, type MoverDeps } from '../../agent/mover/mover.ts';
import type { Clock } from '../../contract/clock.ts';

/** SIMULATED: the movers of one host, in this process. */
export class SimulatedMovers implements Movers {
  readonly #deps: MoverDeps;
  readonly #running = new Map<string, { mover: Mover; kill(): void }>();

  constructor(deps: MoverDeps) {
    this.#deps = deps;
  }

  async start(order: Parameters<Movers['start']>[0]): Promise<void> {
    const { deps, kill } = mortal(this.#deps);
    const mover = new Mover(deps, order);
    this.#running.set(order.migrationId, { mover, kill });
    void mover.run().then(() => {
      if (this.#running.get(order.migrationId)?.mover === mover) this.#running.delete(order.migrationId);
    });
  }

  async cutover(migrationId: string, request: Parameters<Movers['cutover']>[1]): Promise<boolean> {
    const running = this.#running.get(migrationId);
    running?.mover.cutover(request);
    return running !== undefined;
  }

  cancel(migrationId: string): boolean {
    return this.#running.get(migrationId)?.mover.cancel() ?? false;
  }

  async fence(migrationId: string): Promise<'none' | 'killed'> {
    const running = this.#running.get(migrationId);
    if (running === undefined) return 'none';
    this.#running.delete(migrationId);
    running.kill();
    return 'killed';
  }

  /** As when the host's processes die: of a mover that is killed nothing is heard any more, and its connections are gone. */
  killAll(): void {
    for (const id of [...this.#running.keys()]) void this.fence(id);
  }
}

/** Surroundings that can be taken away at once: calls made afterwards are never answered. */
function mortal(deps: MoverDeps): { deps: MoverDeps; kill(): void } {
  const connections = new Set<MigrationTarget>();
  let dead = false;
  const whileAlive = async <T>(call: () => Promise<T>): Promise<T> => {
    if (dead) return new Promise<never>(() => {});
    const result = await call();
    return dead ? new Promise<never>(() => {}) : result;
  };
  const { mailbox, clock } = deps;
  const mortalMailbox: Mailbox = {
    readOrder: (id) => whileAlive(() => mailbox.readOrder(id)),
    claim: (id) => whileAlive(() => mailbox.claim(id)),
    report: (report) => whileAlive(() => mailbox.report(report)),
    readTicket: (id) => whileAlive(() => mailbox.readTicket(id)),
    commit: (id, mover) => whileAlive(() => mailbox.commit(id, mover)),
  };
  const mortalClock: Clock = {
    now: () => clock.now(),
    sleep: (ms, signal) => whileAlive(() => clock.sleep(ms, signal)),
  };
  return {
    deps: {
      ...deps,
      mailbox: mortalMailbox,
      clock: mortalClock,
      connect: (uri) =>
        whileAlive(async () => {
          const connection = await deps.connect(uri);
          connections.add(connection);
          return connection;
        }),
    },
    kill() {
      dead = true;
      for (const connection of connections) void connection.close();
    },
  };
}
