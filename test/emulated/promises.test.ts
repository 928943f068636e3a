// 'auto' in the background: a GPU is looked for and started by another thread; where it fails the CPU gives the result.
import { expect, it, vi } from 'vitest';
import { emulator, errors, libraryOn } from './machine.ts';

const shape = [3000, 256];
const x = Float32Array.from({ length: 3000 * 256 }, (_, i) => (i * 7919) % 13);

it("'auto' starts a GPU, uses it, and leaves it at its first failure", async () => {
  const { CudaError, setAutoCosts, softmax } = await libraryOn();
  const promises = await import('../../lib/promises.ts');
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  const expected = Buffer.from(softmax(x, { shape, device: 'cpu' }).buffer);
  const expectSame = (y: Float32Array): void => expect(Buffer.from(y.buffer).equals(expected)).toBe(true);

  setAutoCosts({ upload: 1e15, download: 1e15, staging: 1e15, launch: 1e-12 });
  await promises.softmax(x.slice(0, 70_000), { device: 'cuda' });
  const launches = emulator.launches();
  expectSame(await promises.softmax(x, { shape }));
  expect(emulator.launches()).not.toEqual(launches);

  // What onProgress throws is the caller's, and no failure of the GPU.
  const own = new CudaError('mine', 1, 'mine');
  const onProgress = (): void => {
    throw own;
  };
  await expect(promises.softmax(x, { shape, onProgress })).rejects.toBe(own);

  emulator.inject({ call: 'cudaLaunchKernelEx', error: errors.cudaErrorUnknown });
  expectSame(await promises.softmax(x, { shape }));
  expect(emulator.pending()).toBe(0);
  const after = emulator.launches();
  expectSame(await promises.softmax(x, { shape }));
  expect(emulator.launches()).toEqual(after);
  expect(warn).toHaveBeenCalledTimes(1);
});

it('a GPU that is named rejects with what CUDA reports', async () => {
  const { CudaError } = await libraryOn();
  const promises = await import('../../lib/promises.ts');
  emulator.inject({ call: 'cudaLaunchKernelEx', error: errors.cudaErrorUnknown });
  const error: unknown = await promises
    .softmax(x, { shape, device: 'cuda' })
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(CudaError);
  expect(error).toMatchObject({ code: 'ERR_CUDA', cudaName: 'cudaErrorUnknown' });
});
