// 'auto' on a GPU that fails: the CPU gives the result, a warning says so once, and the GPU is left alone.
import { expect, it, vi } from 'vitest';
import { emulator, errors, libraryOn } from './machine.ts';

const shape = [3000, 256];
const x = Float32Array.from({ length: 3000 * 256 }, (_, i) => (i * 7919) % 13);

it("'auto' computes on the CPU from the first failure on", async () => {
  const { cudaDevice, setAutoCosts, softmax } = await libraryOn();
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});

  const expected = Buffer.from(softmax(x, { shape, device: 'cpu' }).buffer);
  const expectSame = (y: Float32Array): void => expect(Buffer.from(y.buffer).equals(expected)).toBe(true);
  setAutoCosts({ upload: 1e15, download: 1e15, staging: 1e15, launch: 1e-12 });
  await cudaDevice().synchronize();
  expectSame(softmax(x, { shape }));
  expect(Object.keys(emulator.launches())).not.toEqual([]);

  emulator.inject({ call: 'cudaLaunchKernelEx', error: errors.cudaErrorUnknown });
  expectSame(softmax(x, { shape }));
  expect(emulator.pending()).toBe(0);
  const launches = emulator.launches();
  expectSame(softmax(x, { shape }));
  expect(emulator.launches()).toEqual(launches);

  expect(warn).toHaveBeenCalledTimes(1);
  const text = expect.stringContaining('cudaErrorUnknown') as string;
  expect(warn).toHaveBeenCalledWith(text, { code: 'SOFTMAX_CUDA_UNUSABLE' });
});
