import type { Json, JsonObject } from '../../core/service.ts';

/** The workflow variables of one scope: a branch reads those of the scopes around it and assigns only its own. */
export class Variables {
  readonly #outer: Variables | undefined;
  readonly #own = new Map<string, Json>();

  constructor(outer?: Variables) {
    this.#outer = outer;
  }

  get(name: string): Json | undefined {
    const own = this.#own.get(name);
    return own === undefined ? this.#outer?.get(name) : own;
  }

  assign(values: JsonObject): void {
    for (const [name, value] of Object.entries(values)) this.#own.set(name, value);
  }
}
