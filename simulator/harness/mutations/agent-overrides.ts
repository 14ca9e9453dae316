import type { Domain, HypervisorConnection } from '../../../agent/hypervisor.ts';
import { BRAKE_SPEED_MIBPS } from '../../../agent/mover/brake.ts';

/** The movers' methods, bound, so that some of them can be replaced. */
export function boundMethods<M extends { start: unknown; cutover: unknown; fence: unknown }>(movers: M): M {
  const bound = (name: keyof M) => (movers[name] as (...to: unknown[]) => unknown).bind(movers);
  return { start: bound('start'), cutover: bound('cutover'), fence: bound('fence') } as unknown as M;
}

/** The mover, when Finish's answer is lost, takes the destination's copy for gone and does not inspect the destination. */
export function goneAfterLostFinish(): (connection: HypervisorConnection) => HypervisorConnection {
  const lost = new Set<string>();
  return (connection) =>
    new Proxy(connection, {
      get(target, name) {
        if (name === 'finish') {
          return async (options: Parameters<HypervisorConnection['finish']>[0]) => {
            try {
              return await target.finish(options);
            } catch (error) {
              if (!options.cancelled) lost.add(options.name);
              throw error;
            }
          };
        }
        if (name === 'find') return async (vm: string) => (lost.delete(vm) ? undefined : target.find(vm));
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
}

/** The same object with some of its members replaced. */
export function overridden<T extends object>(of: T, change: Partial<T>): T {
  return new Proxy(of, {
    get(target, name) {
      const value = (Reflect.get(change, name) ?? Reflect.get(target, name, target)) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

export const withDomains =
  (change: (domain: Domain) => Partial<Domain>) =>
  (connection: HypervisorConnection): HypervisorConnection =>
    overridden(connection, {
      find: async (vm) => {
        const domain = await connection.find(vm);
        return domain && overridden(domain, change(domain));
      },
    });

/** Starts post-copy as soon as the copy's speed limit is lifted, and so before the mover commits. */
export function postCopyBeforeCommit(domain: Domain): Partial<Domain> {
  let possible = false;
  let braked = false;
  return {
    begin: (options) => {
      possible = options.postCopy === true;
      return domain.begin(options);
    },
    setMaxSpeedMiBps: async (mibps) => {
      await domain.setMaxSpeedMiBps(mibps);
      if (mibps === BRAKE_SPEED_MIBPS) braked = true;
      else if (possible && braked) await domain.startPostCopy();
    },
  };
}

export const halfCountsAsWhole = (domain: Domain): Partial<Domain> => ({
  state: async () => {
    const seen = await domain.state();
    const half = seen.state.startsWith('postcopy-') && seen.detail.startsWith('running');
    return half ? { ...seen, state: 'running' } : seen;
  },
});
