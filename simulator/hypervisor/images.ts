import type { ImageFiles } from '../../agent/migrated-storage/images.ts';

/** The directory of images in local storage. */
export const LOCAL_IMAGES = '/var/lib/libvirt/images';

/** SIMULATED: an image, whatever its names. `holds`: which state of its guest's disk, counted as the guest writes; absent: none yet. */
export interface ImageFile {
  holds?: number;
}

/** SIMULATED: the image files of one host, all on one file system: names, and the file each is of. */
export class SimulatedImages implements ImageFiles {
  readonly files = new Map<string, ImageFile>();
  availableBytes = 1024 ** 4;
  readonly #identities = new Map<ImageFile, string>();
  readonly #changed: (path: string) => void;

  /** `changed` is called right after a name is given or taken away. */
  constructor(changed: (path: string) => void = () => {}) {
    this.#changed = changed;
  }

  async create(path: string): Promise<void> {
    if (!this.files.has(path)) this.#name(path, {});
  }

  async link(path: string, name: string): Promise<boolean> {
    const file = this.files.get(path);
    if (file === undefined) throw new Error(`ENOENT: ${path}`);
    if (this.files.has(name)) return false;
    this.#name(name, file);
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
    this.#changed(path);
  }

  async space() {
    return { fileSystem: 'images', availableBytes: this.availableBytes };
  }

  async mustMakeImages(): Promise<void> {}

  #name(path: string, file: ImageFile): void {
    this.files.set(path, file);
    this.#changed(path);
  }
}
