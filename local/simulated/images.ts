import type { ImageFiles } from '../../agent/storage/images.ts';

/** SIMULATED: the image files of one host, all on one file system: names, and the file each is of. */
export class SimulatedImages implements ImageFiles {
  readonly files = new Map<string, object>();
  availableBytes = 1024 ** 4;
  readonly #identities = new Map<object, string>();

  async create(path: string): Promise<void> {
    if (!this.files.has(path)) this.files.set(path, {});
  }

  async link(path: string, name: string): Promise<boolean> {
    const file = this.files.get(path);
    if (file === undefined) throw new Error(`ENOENT: ${path}`);
    if (this.files.has(name)) return false;
    this.files.set(name, file);
    return true;
  }

  async identity(path: string): Promise<string | undefined> {
    const file = this.files.get(path);
    if (file === undefined) return undefined;
    const known = this.#identities.get(file) ?? `${this.#identities.size}`;
    this.#identities.set(file, known);
    return known;
  }

  async remove(path: string): Promise<void> {
    this.files.delete(path);
  }

  async room() {
    return { fileSystem: 'images', availableBytes: this.availableBytes };
  }

  async mustMakeImages(): Promise<void> {}
}
