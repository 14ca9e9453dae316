/** A script that Run Command has a managed node run. */
export interface NodeStep {
  script: string;
  env: Record<string, string>;
  timeoutSeconds: number;
}

export interface NodeOutput {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** What stands for the SSM agent of a managed node. When `signal` aborts, the script's process group is killed (SIGKILL). */
export interface NodeExecutor {
  run(step: NodeStep, signal: AbortSignal): Promise<NodeOutput>;
}

// Mds.CommandWorkersLimit of the SSM agent: a sixth long command waits.
const COMMAND_WORKERS = 5;

/** A node's Run Command workers, and the line before them. */
export class ManagedNode {
  readonly id: string;
  readonly executor: NodeExecutor;
  #online = true;
  #busy = 0;
  #waiting: (() => Promise<void>)[] = [];

  constructor(id: string, executor: NodeExecutor) {
    this.id = id;
    this.executor = executor;
  }

  get online(): boolean {
    return this.#online;
  }

  /** A node that is offline takes no command from the line; it picks them up when it comes back. */
  set online(online: boolean) {
    this.#online = online;
    this.#startWaiting();
  }

  /** Runs `job` once a worker is free and the node is online. A job that must not start any more has to see to that itself. */
  enqueue(job: () => Promise<void>): void {
    this.#waiting.push(job);
    this.#startWaiting();
  }

  #startWaiting(): void {
    while (this.#online && this.#busy < COMMAND_WORKERS) {
      const job = this.#waiting.shift();
      if (job === undefined) return;
      this.#busy += 1;
      void job().finally(() => {
        this.#busy -= 1;
        this.#startWaiting();
      });
    }
  }
}
