// Machines whose GPUs cannot be used: the reason in words, an error for who insists, and the CPU for everybody else.
import { describe, expect, it, vi } from 'vitest';
import { native } from '../../lib/binding.ts';
import { byName } from '../support/by-name.ts';
import { emulator, errors, libraryOn, nothingLive, type Library } from './machine.ts';

const x = Float32Array.of(1, 2, 3, 4);

const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});

const machines: { name: string; prepare: () => Promise<Library>; reason: RegExp }[] = [
  {
    name: 'without a driver',
    prepare: () => libraryOn({ driver: 'none' }),
    reason: /no NVIDIA driver.* r580 or later.* CUDA 13\.0/i,
  },
  {
    name: 'with an old driver',
    prepare: () => libraryOn({ driver: 'old' }),
    reason: /driver is too old.* CUDA 12\.0.* r580 or later/i,
  },
  { name: 'without a GPU', prepare: () => libraryOn({ devices: 0 }), reason: /no GPU/i },
  {
    name: 'with a driver that does not work',
    async prepare() {
      const library = await libraryOn();
      emulator.inject({ call: 'cudaGetDeviceCount', error: errors.cudaErrorSystemNotReady });
      return library;
    },
    reason: /cudaErrorSystemNotReady \(802\)/,
  },
  {
    name: 'whose GPU is older than the kernels',
    prepare: () => libraryOn({ device: 'sm_70' }),
    reason:
      /cuda:0, Tesla V100.*, cannot be used: its compute capability 7\.0 is below 7\.5, the lowest that this build has/,
  },
  {
    name: 'whose GPU may not compute',
    prepare: () => libraryOn({ computeMode: 2 }),
    reason:
      /cuda:0, .*, cannot be used: its compute mode is 'prohibited' \(nvidia-smi --compute-mode changes it\)/,
  },
];

describe.each(byName(machines))('a machine %s', (_name, { prepare, reason }) => {
  it('says why, and computes on the CPU', async () => {
    const library = await prepare();
    const expected = library.softmax(x, { device: 'cpu' });
    expect(library.deviceInfo().cuda).toMatchObject({
      available: false,
      reason: expect.stringMatching(reason) as string,
    });
    expect(() => library.softmax(x, { device: 'cuda' })).toThrow(
      expect.objectContaining({
        code: 'ERR_CUDA_UNAVAILABLE',
        message: expect.stringMatching(reason) as string,
      }),
    );
    expect(() => library.cudaDevice()).toThrow(expect.objectContaining({ code: 'ERR_CUDA_UNAVAILABLE' }));
    expect(library.softmax(x)).toEqual(expected);
    expect(emulator.live()).toEqual(nothingLive);
  });
});

it('a process is warned once of drivers that cannot be used', () => {
  const text = expect.stringContaining('driver is too old') as string;
  expect(warn.mock.calls).toEqual([[text, { code: 'SOFTMAX_CUDA_UNUSABLE' }]]);
});

it.each([{ device: 'sm_70' }, { computeMode: 2 }])(
  'a GPU that cannot be used is not started: %o',
  async (machine) => {
    await libraryOn(machine);
    expect(() => native().cuda.start(0)).toThrow(
      expect.objectContaining({ code: 'ERR_CUDA', cudaName: 'cudaErrorNoKernelImageForDevice' }) as Error,
    );
    expect(emulator.live()).toEqual(nothingLive);
  },
);

it.each(['memory pools', 'the compute mode'])('a GPU that does not tell of %s is used', async (what) => {
  const { cudaDevice, deviceInfo, softmax } = await libraryOn();
  emulator.inject({
    call: 'cudaDeviceGetAttribute',
    nth: what === 'memory pools' ? 1 : 2,
    error: errors.cudaErrorUnknown,
  });
  expect(deviceInfo().cuda).toMatchObject({ available: true, devices: [{ usable: true }] });
  expect(emulator.pending()).toBe(0);
  expect(emulator.lastError()).toBe(0);
  const expected = softmax(x, { device: 'cpu' });
  expect(softmax(x, { device: 'cuda' })).toEqual(expected);
  const tensor = cudaDevice().tensor(x);
  expect(softmax(tensor, { out: tensor }).dataSync()).toEqual(expected);
  tensor.dispose();
  expect(emulator.live().device).toEqual(nothingLive.device);
});

describe('a machine with two GPUs', () => {
  it('computes on either', async () => {
    const { cudaDevice, deviceInfo, softmax } = await libraryOn({ devices: 2 });
    const expected = softmax(x, { device: 'cpu' });
    expect(deviceInfo().cuda).toMatchObject({
      available: true,
      devices: [{ device: 'cuda:0' }, { device: 'cuda:1' }],
    });
    for (const device of ['cuda:0', 'cuda:1'] as const) expect(softmax(x, { device })).toEqual(expected);
    for (const index of [0, 1]) {
      const tensor = cudaDevice(index).tensor(x);
      const y = softmax(tensor);
      expect(y.device).toBe(`cuda:${index}`);
      expect(y.dataSync()).toEqual(expected);
      tensor.dispose();
      y.dispose();
    }
  });

  it('goes on with one when the other is lost', async () => {
    const { CudaError, deviceInfo, softmax } = await libraryOn({ devices: 2 });
    const expected = softmax(x, { device: 'cpu' });
    softmax(x, { device: 'cuda:1' });
    emulator.inject({ call: 'kernel', error: errors.cudaErrorLaunchFailure });
    expect(() => softmax(x, { device: 'cuda:0' })).toThrow(CudaError);
    expect(() => softmax(x, { device: 'cuda:0' })).toThrow(/cudaErrorLaunchFailure/);
    expect(softmax(x, { device: 'cuda:1' })).toEqual(expected);
    expect(softmax(x, { device: 'cuda' })).toEqual(expected);
    expect(deviceInfo().cuda).toMatchObject({ available: true });
  });
});
