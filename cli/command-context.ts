import type { Command } from 'commander';
import type { MigrationView } from '../contract/api.ts';
import { type Access, ApiClient, findAccess } from './api-client.ts';
import { progressPrinter } from './follow-migration.ts';

/** What every command gets from the global options `--api` and `--json`. */
export class CommandContext {
  readonly #program: Command;

  constructor(program: Command) {
    this.#program = program;
  }

  get json(): boolean {
    return this.#program.opts<{ json?: boolean }>().json === true;
  }

  access(): Promise<Access> {
    return findAccess(this.#program.opts<{ api?: string }>().api);
  }

  async client(): Promise<ApiClient> {
    return new ApiClient(await this.access());
  }

  /** Prints the answer: `value` with --json, otherwise `text`. */
  print(value: unknown, text: string): void {
    console.log(this.json ? JSON.stringify(value) : text);
  }

  /** Prints a followed migration's stages to standard error; nothing with --json. */
  onProgress(): (view: MigrationView) => void {
    return this.json ? () => {} : progressPrinter(process.stderr);
  }
}
