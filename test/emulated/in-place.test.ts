// 'auto' in place on a GPU that fails: as long as the logits are what they were the CPU gives the result, and what has
// begun to overwrite them is reported.
import { afterAll, describe, expect, it, vi } from 'vitest';
import { expectSameBits } from '../support/bits.ts';
import { byName } from '../support/by-name.ts';
import { emulator, errors, libraryOn, type Library } from './machine.ts';

const shape = [1200, 512];
const logits = Float32Array.from({ length: 1200 * 512 }, (_, i) => (i * 7919) % 13);

vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
afterAll(async () => {
  await libraryOn();
});

/** The library on a GPU that is started, and that 'auto' takes. */
async function libraryOnFastGpu(): Promise<Library> {
  const library = await libraryOn();
  library.setAutoCosts({ upload: 1e15, download: 1e15, staging: 1e15, launch: 1e-12 });
  await library.cudaDevice().synchronize();
  return library;
}

interface Memory {
  name: string;
  array: (library: Library) => Float32Array;
  /** The call before the first of which nothing is written, and between which results are. */
  writes: string;
}
const memories: Memory[] = [
  {
    name: 'an ordinary array',
    array: () => new Float32Array(logits.length),
    writes: 'cudaEventSynchronize',
  },
  {
    name: 'a page-locked array',
    array: ({ allocPinned }) => allocPinned('float32', logits.length),
    writes: 'cudaLaunchKernelEx',
  },
  {
    name: 'shared memory',
    array: () => new Float32Array(new SharedArrayBuffer(logits.byteLength)),
    writes: 'cudaEventSynchronize',
  },
];

describe.each(byName(memories))('%s', (_name, { array, writes }) => {
  it.each(['cudaMallocFromPoolAsync', 'cudaMemcpyAsync', 'cudaLaunchKernelEx', 'cudaEventRecord'])(
    'is computed on the CPU where the first call of %s fails',
    async (call) => {
      const library = await libraryOnFastGpu();
      const x = array(library);
      x.set(logits);
      emulator.inject({ call, error: errors.cudaErrorUnknown });
      expect(library.softmax(x, { shape, out: x, threads: 1 })).toBe(x);
      expect(emulator.pending()).toBe(0);
      expectSameBits(x, library.softmax(logits, { shape, device: 'cpu' }), call);
      // The failure was met: the GPU is left alone.
      const launches = emulator.launches();
      library.softmax(x, { shape, threads: 1 });
      expect(emulator.launches()).toEqual(launches);
    },
  );

  it('that results have begun to overwrite is reported, and before that computed on the CPU', async () => {
    const expected = (await libraryOn()).softmax(logits, { shape, device: 'cpu' });
    let reported = 0;
    for (let nth = 1; ; nth++) {
      const library = await libraryOnFastGpu();
      const x = array(library);
      x.set(logits);
      emulator.inject({ call: writes, nth, error: errors.cudaErrorUnknown });
      try {
        library.softmax(x, { shape, out: x, threads: 1 });
        expectSameBits(x, expected, `${writes} ${nth}`);
      } catch (error) {
        expect(error).toBeInstanceOf(library.CudaError);
        reported++;
      }
      if (emulator.pending() > 0) break;
    }
    expect(reported).toBeGreaterThan(0);
  });
});
