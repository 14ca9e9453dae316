import type { Observers } from '../deps.ts';
import { type DetachedProcessOptions, startDetached } from '../host/detached-process.ts';

/**
 * Observers as processes of their own. Nobody speaks to one or has to end it: it ends with the copy that it observes, and what it does
 * is harmless whatever has become of the migration.
 */
export class ObserverProcesses implements Observers {
  readonly #options: DetachedProcessOptions;

  constructor(options: DetachedProcessOptions) {
    this.#options = options;
  }

  async start({ migrationId, requestId }: { migrationId: string; requestId: string }): Promise<void> {
    await startDetached(this.#options, ['observe', requestId], {
      unit: `handoff-observe-${migrationId}`,
      log: `${migrationId}.observe.log`,
    });
  }
}
