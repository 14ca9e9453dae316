import {
  type Domain,
  type HypervisorConnection,
  HypervisorError,
  type MigrationOptions,
} from '../../agent/hypervisor.ts';

/**
 * A client of two hosts' hypervisors, real or simulated, that can be killed: everything recovery is built on is what a host is left
 * with when its client dies, so both kinds must be left with the same.
 */
export interface Client {
  source: HypervisorConnection;
  destination: HypervisorConnection;
  /** The VM on the source. */
  domain: Domain;
  /** Cuts the client's connections, as SIGKILL does. */
  die(): void;
  /** Dies when the call has reached its daemon and is not answered yet. */
  dieDuring(role: 'source' | 'destination', call: () => Promise<unknown>): Promise<void>;
  /** Loses the connection to the destination only. */
  loseDestination(): void;
  killQemu(role: 'source' | 'destination'): Promise<void>;
  /** Makes the image that its local disk is copied to. */
  makeImage(): Promise<void>;
  /** Begun, and slow enough to do something in its midst. Resolves to its error, or to nothing. */
  slowly(perform: () => Promise<unknown>): Promise<{ outcome: Promise<unknown> }>;
}

/** As the calls of the handshake name it. */
export type Vm = Pick<MigrationOptions, 'name' | 'persistent' | 'migratedDisks' | 'diskMiBps'>;

export interface Scenario {
  name: string;
  persistent?: boolean;
  /** It has a disk that only its host has, which is copied along. */
  localDisk?: boolean;
  play(client: Client, vm: Vm): Promise<void>;
}

const NONE = Buffer.alloc(0);

async function prepare({ domain, destination }: Client, vm: Vm) {
  const { xml, cookie } = await domain.begin(vm);
  const { uri, cookie: ready } = await destination.prepare({ ...vm, xml, cookie });
  return { input: { ...vm, xml, uri }, cookie: ready };
}

async function perform(client: Client, vm: Vm) {
  const { input, cookie } = await prepare(client, vm);
  const performed = await client.domain.perform({ ...input, cookie });
  return { input, cookie: performed.cookie };
}

async function finish(client: Client, vm: Vm) {
  const { input, cookie } = await perform(client, vm);
  return client.destination.finish({ ...input, cookie, cancelled: false });
}

/** The copy under way. */
async function performing(client: Client, vm: Vm) {
  const { input, cookie } = await prepare(client, vm);
  const { outcome } = await client.slowly(() => client.domain.perform({ ...input, cookie }));
  return { input, outcome };
}

/** The same with a disk that is copied before the memory. */
export const COPIED_DISK: readonly Scenario[] = [
  {
    name: 'a disk is copied along, and all goes well',
    async play(client: Client, vm: Vm) {
      await client.makeImage();
      const { cookie } = await finish(client, vm);
      await client.domain.confirm({ ...vm, cookie, cancelled: false });
    },
  },
  {
    name: 'there is no image for the disk that is to be copied',
    async play(client: Client, vm: Vm) {
      await expectRefusal(prepare(client, vm));
      client.die();
    },
  },
  {
    name: 'the client does not say that the disk is to be copied',
    async play(client: Client, { name, persistent }: Vm) {
      await client.makeImage();
      await expectRefusal(client.domain.begin({ name, persistent }));
    },
  },
  {
    name: 'the client dies while a disk is copied',
    async play(client: Client, vm: Vm) {
      await client.makeImage();
      await performing(client, vm);
      client.die();
    },
  },
  {
    name: 'the job is aborted while a disk is copied',
    async play(client: Client, vm: Vm) {
      await client.makeImage();
      const { input, outcome } = await performing(client, vm);
      await client.domain.abortJob();
      await outcome;
      await client.destination.finish({ ...input, cookie: NONE, cancelled: true }).catch(() => {});
    },
  },
  {
    name: "the destination's QEMU is killed while a disk is copied",
    async play(client: Client, vm: Vm) {
      await client.makeImage();
      const { outcome } = await performing(client, vm);
      await client.killQemu('destination');
      await outcome;
    },
  },
  {
    name: 'the client dies after the Perform that copied a disk',
    async play(client: Client, vm: Vm) {
      await client.makeImage();
      await perform(client, vm);
      client.die();
    },
  },
].map((scenario) => ({ ...scenario, localDisk: true }));

async function expectRefusal(call: Promise<unknown>): Promise<void> {
  const outcome = await call.then(
    () => 'it was carried out',
    (error: unknown) => error,
  );
  if (!(outcome instanceof HypervisorError && outcome.answered)) throw new Error(`not refused: ${outcome}`);
}

/** The plain handshake, and what ends it at each of its points. */
export const HANDSHAKE: readonly Scenario[] = [
  {
    name: 'all goes well',
    async play(client, vm) {
      const { cookie } = await finish(client, vm);
      await client.domain.confirm({ ...vm, cookie, cancelled: false });
    },
  },
  {
    name: 'all goes well with a VM that has no definition',
    persistent: false,
    async play(client, vm) {
      const { cookie } = await finish(client, vm);
      await client.domain.confirm({ ...vm, cookie, cancelled: false });
    },
  },
  {
    name: 'the client dies after Prepare',
    async play(client, vm) {
      await prepare(client, vm);
      client.die();
    },
  },
  {
    name: 'the client dies during Perform',
    async play(client, vm) {
      await performing(client, vm);
      client.die();
    },
  },
  {
    name: 'the client dies after Perform',
    async play(client, vm) {
      await perform(client, vm);
      client.die();
    },
  },
  {
    name: 'the client dies while Finish is under way',
    async play(client, vm) {
      const { input, cookie } = await perform(client, vm);
      await client.dieDuring('destination', () => client.destination.finish({ ...input, cookie, cancelled: false }));
    },
  },
  {
    name: 'the client dies after Finish',
    async play(client, vm) {
      await finish(client, vm);
      client.die();
    },
  },
  {
    name: 'the client dies during Confirm',
    async play(client, vm) {
      const { cookie } = await finish(client, vm);
      await client.dieDuring('source', () => client.domain.confirm({ ...vm, cookie, cancelled: false }));
    },
  },
  {
    name: 'the client dies during a cancelled Confirm',
    async play(client, vm) {
      const { input, cookie } = await perform(client, vm);
      await client.destination.finish({ ...input, cookie, cancelled: true }).catch(() => {});
      await client.dieDuring('source', () => client.domain.confirm({ ...vm, cookie: NONE, cancelled: true }));
    },
  },
  {
    name: 'Finish and Confirm are cancelled',
    async play(client, vm) {
      const { input, cookie } = await perform(client, vm);
      await client.destination.finish({ ...input, cookie, cancelled: true }).catch(() => {});
      await client.domain.confirm({ ...vm, cookie: NONE, cancelled: true });
    },
  },
  {
    name: 'the job is aborted',
    async play(client, vm) {
      const { input, outcome } = await performing(client, vm);
      await client.domain.abortJob();
      await outcome;
      await client.destination.finish({ ...input, cookie: NONE, cancelled: true }).catch(() => {});
    },
  },
  {
    name: "the destination's QEMU is killed during Perform",
    async play(client, vm) {
      const { outcome } = await performing(client, vm);
      await client.killQemu('destination');
      await outcome;
    },
  },
  {
    name: 'the connection to the destination is lost during Perform',
    async play(client, vm) {
      const { outcome } = await performing(client, vm);
      client.loseDestination();
      await outcome;
    },
  },
  {
    name: "the destination's QEMU is killed after Perform",
    async play(client, vm) {
      await perform(client, vm);
      await client.killQemu('destination');
      client.die();
    },
  },
  {
    name: "the destination's QEMU is killed after Finish",
    async play(client, vm) {
      await finish(client, vm);
      await client.killQemu('destination');
      client.die();
    },
  },
  {
    name: "the source's QEMU is killed after Perform",
    async play(client, vm) {
      await perform(client, vm);
      await client.killQemu('source');
      client.die();
    },
  },
];
