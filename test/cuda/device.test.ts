// What deviceInfo says of a GPU, and which calls on arrays of the host are computed there.
import { afterEach, describe, expect, it } from 'vitest';
import {
  cudaDevice,
  deviceInfo,
  rowMax,
  setAutoCosts,
  setDefaultDevice,
  softmax,
  softmaxJacobian,
  type CudaInfo,
} from '../../lib/index.ts';
import { expectSameBits } from '../support/bits.ts';
import { emulator, noGpu } from './support.ts';

const info = (): CudaInfo => {
  const { cuda } = deviceInfo();
  if (!cuda.available) throw new Error(cuda.reason);
  return cuda;
};

describe.skipIf(noGpu)('deviceInfo', () => {
  // First, as any use starts the GPU.
  it('starts no GPU', async () => {
    expect(info().auto).toMatchObject({ started: false, source: 'assumed' });
    const launches = emulator?.launches();
    cudaDevice();
    expect(info().auto.started).toBe(false);
    expect(emulator?.launches()).toEqual(launches);
    await cudaDevice().synchronize();
    expect(info().auto).toMatchObject({ started: true, source: 'measured' });
    for (const cost of Object.values(info().auto.costs)) expect(cost).toBeGreaterThan(0);
  });

  it('lists the GPUs', () => {
    const { devices, driverVersion, minimumDriver, runtimeVersion } = info();
    expect(driverVersion).toMatch(/^\d\d\.\d+$/);
    expect(runtimeVersion).toMatch(/^1[2-9]\.\d+$/);
    expect(minimumDriver).toMatch(/^r\d{3}$/);
    for (const [i, gpu] of devices.entries()) {
      expect(gpu).toMatchObject({ device: `cuda:${i}`, name: expect.stringMatching(/\S/) as string });
      expect(gpu.computeCapability).toMatch(/^\d+\.\d$/);
      expect(gpu.memory).toBeGreaterThan(2 ** 30);
      expect(gpu.multiprocessors).toBeGreaterThan(0);
    }
    const { index, name } = cudaDevice();
    expect(devices[index]).toMatchObject({ name, usable: true });
  });

  it.skipIf(emulator === undefined)('knows the GPU that is emulated', () => {
    const [, major, minor] = /^sm_(\d+)(\d)$/.exec(process.env['SOFTMAX_EMULATED_DEVICE'] ?? '') ?? [];
    expect(info().devices[0]?.computeCapability).toBe(`${major}.${minor}`);
  });
});

describe.skipIf(noGpu || emulator === undefined)('arrays of the host', () => {
  const x = new Float32Array(1 << 17).map((_, i) => Math.cos(i));
  const shape = [128, 1024];
  const launched = (call: () => unknown): boolean => {
    const count = (): number => Object.values(emulator!.launches()).reduce((sum, n) => sum + n, 0);
    const before = count();
    call();
    return count() > before;
  };
  afterEach(() => {
    setDefaultDevice('auto');
    setAutoCosts();
  });

  it.each<[string, (options: object) => unknown]>([
    ['softmax', (options) => softmax(x, { shape, ...options })],
    ['rowMax', (options) => rowMax(x, { shape, ...options })],
    ['softmaxJacobian', (options) => softmaxJacobian(x.subarray(0, 2000), { shape: [10, 200], ...options })],
  ])('%s is computed where the option, the default or the costs say', async (_name, call) => {
    await cudaDevice().synchronize();
    expect(launched(() => call({ device: 'cuda' }))).toBe(true);
    expect(launched(() => call({ device: 'cpu' }))).toBe(false);
    setDefaultDevice('cuda');
    expect(launched(() => call({}))).toBe(true);
    expect(launched(() => call({ device: 'auto' }))).toBe(false);
    setDefaultDevice('cpu');
    setAutoCosts({ upload: 1e15, download: 1e15, staging: 1e15, launch: 1e-12 });
    expect(launched(() => call({}))).toBe(false);
    expect(launched(() => call({ device: 'auto', threads: 1 }))).toBe(true);
  });

  it('give the same bits everywhere', () => {
    setAutoCosts({ upload: 1e15, download: 1e15, staging: 1e15, launch: 1e-12 });
    expectSameBits(softmax(x, { shape, threads: 1 }), softmax(x, { shape, device: 'cpu' }), 'auto');
    expect(softmax([[0, 0], [1, 1]], { device: 'cuda' })).toEqual([[0.5, 0.5], [0.5, 0.5]]); // prettier-ignore
    expect(softmax({ data: Float32Array.of(3, 3), dims: [1, 2] }, { device: 'cuda' })).toEqual({
      data: Float32Array.of(0.5, 0.5),
      dims: [1, 2],
    });
  });
});
