import { describe, expect, it } from 'vitest';
import {
  type ImageFiles,
  keepImages,
  madeImages,
  makeImages,
  markOf,
  removeImages,
} from '../../../../agent/migrated-storage/images.ts';
import type { MigratedDisk } from '../../../../contract/migrated-storage.ts';
import { SimulatedImages } from '../../../../simulator/hypervisor/images.ts';

const ID = 'web01-5f2c';
const disk = (target: string): MigratedDisk => ({
  target,
  path: `/images/${target}.qcow2`,
  format: 'qcow2',
  capacityBytes: 1024,
  allocatedBytes: 512,
});
const DISKS = [disk('vda'), disk('vdb')];
const PATHS = DISKS.map(({ path }) => path);
const MARKS = DISKS.map((each) => markOf(ID, each));

/** Whether the process was killed at its nth act on the host's files, right before it or right after; whatever came then never comes. */
async function untilDead(
  run: (files: ImageFiles) => Promise<unknown>,
  files: ImageFiles,
  at: number,
  when: 'before' | 'after',
): Promise<boolean> {
  const never = new Promise<never>(() => {});
  const died = Promise.withResolvers<true>();
  let acts = 0;
  const act = async <T>(does: () => Promise<T>): Promise<T> => {
    acts += 1;
    if (acts < at) return does();
    if (acts === at && when === 'after') await does();
    died.resolve(true);
    return never;
  };
  const dying: ImageFiles = {
    identity: (path) => files.identity(path),
    create: (...args) => act(() => files.create(...args)),
    link: (...args) => act(() => files.link(...args)),
    remove: (...args) => act(() => files.remove(...args)),
    space: (directory) => files.space(directory),
    mustMakeImages: () => files.mustMakeImages(),
  };
  return Promise.race([run(dying).then(() => false), died.promise]);
}

const names = ({ files }: SimulatedImages) => [...files.keys()].sort();

describe('the images a migration makes', () => {
  it('are at their paths, and marked', async () => {
    const files = new SimulatedImages();
    expect(await makeImages(files, ID, DISKS)).toEqual(PATHS);
    expect(names(files)).toEqual([...MARKS, ...PATHS].sort());
    expect(await madeImages(files, ID, DISKS)).toEqual(PATHS);
  });

  it('are made once, however often it is asked for', async () => {
    const files = new SimulatedImages();
    await makeImages(files, ID, DISKS);
    const image = files.files.get(PATHS[0]!);
    await makeImages(files, ID, DISKS);
    expect(files.files.get(PATHS[0]!)).toBe(image);
  });

  it('are never put over a file, and then none is left', async () => {
    const files = new SimulatedImages();
    await files.create(PATHS[1]!);
    const precious = files.files.get(PATHS[1]!);
    await expect(makeImages(files, ID, DISKS)).rejects.toMatchObject({ code: 'StorageFailed' });
    expect([...files.files]).toEqual([[PATHS[1], precious]]);
  });

  it('are not put over a file that comes in the last moment', async () => {
    const files = new SimulatedImages();
    const link = files.link.bind(files);
    files.link = async (path, name) => {
      await files.create(name);
      return link(path, name);
    };
    await expect(makeImages(files, ID, [DISKS[0]!])).rejects.toMatchObject({ code: 'StorageFailed' });
    expect(names(files)).toEqual([PATHS[0]]);
  });

  it('that can’t be made are told with the reason, and none is left', async () => {
    const files = new SimulatedImages();
    const create = files.create.bind(files);
    files.create = async (path) => {
      await create(path);
      if (path === MARKS[1]) throw new Error('No space left on device');
    };
    const failure = { code: 'StorageFailed', message: expect.stringContaining('No space left') };
    await expect(makeImages(files, ID, DISKS)).rejects.toMatchObject(failure);
    expect(names(files)).toEqual([]);
  });

  it('are kept by taking the marks away', async () => {
    const files = new SimulatedImages();
    await makeImages(files, ID, DISKS);
    await keepImages(files, ID, DISKS);
    await keepImages(files, ID, DISKS);
    expect(names(files)).toEqual([...PATHS].sort());
    expect(await madeImages(files, ID, DISKS)).toEqual([]);
    // From now on they are files like any other.
    await removeImages(files, ID, DISKS);
    expect(names(files)).toEqual([...PATHS].sort());
  });

  it('keep their last name', async () => {
    const files = new SimulatedImages();
    await makeImages(files, ID, DISKS);
    await files.remove(PATHS[0]!);
    await expect(keepImages(files, ID, DISKS)).rejects.toMatchObject({ code: 'NeedsOperator' });
    expect(names(files)).toContain(MARKS[0]);
  });

  it('are removed, but not what somebody has put in their place, nor another migration’s', async () => {
    const files = new SimulatedImages();
    await makeImages(files, ID, DISKS);
    await files.remove(PATHS[0]!);
    await files.create(PATHS[0]!);
    await makeImages(files, 'other-1', [disk('vdc')]);
    await removeImages(files, ID, [...DISKS, disk('vdc')]);
    expect(names(files)).toEqual(['/images/.handoff-other-1.vdc', PATHS[0], '/images/vdc.qcow2'].sort());
  });
});

const DEATHS = Array.from({ length: 8 }, (_, index) => index + 1).flatMap((at) =>
  (['before', 'after'] as const).map((when) => [at, when] as const),
);

describe.each(DEATHS)('when the process dies at act %i, %s it,', (at, when) => {
  const made = async () => {
    const files = new SimulatedImages();
    await files.create('/images/other.qcow2');
    return files;
  };

  it('of making: what is there is known, and goes', async () => {
    const files = await made();
    const died = await untilDead((dying) => makeImages(dying, ID, DISKS), files, at, when);
    expect(died).toBe(at <= 4);
    const paths = PATHS.filter((path) => files.files.has(path));
    const known = await madeImages(files, ID, DISKS);
    expect(
      paths.filter((path) => !known.includes(path)),
      'none without its mark',
    ).toEqual([]);
    await removeImages(files, ID, DISKS);
    expect(names(files)).toEqual(['/images/other.qcow2']);
  });

  it('of making: it can be gone on with', async () => {
    const files = await made();
    await untilDead((dying) => makeImages(dying, ID, DISKS), files, at, when);
    expect(await makeImages(files, ID, DISKS)).toEqual(PATHS);
    expect(names(files)).toEqual([...MARKS, ...PATHS, '/images/other.qcow2'].sort());
  });

  it('of removing: it can be gone on with, and is not over before', async () => {
    const files = await made();
    await makeImages(files, ID, DISKS);
    await untilDead((dying) => removeImages(dying, ID, DISKS), files, at, when);
    const left = PATHS.filter((path) => files.files.has(path));
    expect(await madeImages(files, ID, DISKS)).toEqual(expect.arrayContaining(left));
    await removeImages(files, ID, DISKS);
    expect(names(files)).toEqual(['/images/other.qcow2']);
  });

  it('of keeping: it can be gone on with', async () => {
    const files = await made();
    await makeImages(files, ID, DISKS);
    await untilDead((dying) => keepImages(dying, ID, DISKS), files, at, when);
    await keepImages(files, ID, DISKS);
    expect(names(files)).toEqual([...PATHS, '/images/other.qcow2'].sort());
  });
});
