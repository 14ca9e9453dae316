/** So many lines may wait for a file that cannot be written at the moment; later ones are dropped. */
const MOST_WAITING = 1_000;

/**
 * Writes lines in the background, those that wait in one batch. A batch that cannot be written is dropped: the next line finds
 * out whether it can be again.
 */
export class LineWriter {
  readonly #write: (text: string) => Promise<unknown>;
  #waiting: string[] = [];
  #writing: Promise<void> | undefined;

  constructor(write: (text: string) => Promise<unknown>) {
    this.#write = write;
  }

  push(line: string): void {
    if (this.#waiting.length >= MOST_WAITING) return;
    this.#waiting.push(line);
    this.#writing ??= this.#drain();
  }

  /** Resolves when every line is written or dropped; never, if the file's disk hangs. */
  async written(): Promise<void> {
    await this.#writing;
  }

  async #drain(): Promise<void> {
    // The lines of one turn of the event loop go out together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const text = `${this.#waiting.join('\n')}\n`;
      this.#waiting = [];
      await this.#write(text).catch(() => {});
    }
    this.#writing = undefined;
  }
}
