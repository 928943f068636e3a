// Where a call computes: the option `device`, its default, and what 'auto' does before and after it uses a GPU. The GPUs
// are not real, see fake-cuda.ts.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type * as publicLibrary from '../../lib/index.ts';
import type { AutoInfo } from '../../lib/index.ts';
import type { FloatArray, NativeCudaInfo } from '../../lib/binding.ts';
import { expectSameBits } from '../support/bits.ts';
import { randomFrom } from '../support/random.ts';
import { fakeCuda, gpu, libraryWith, nativeError, type Fake } from './fake-cuda.ts';
import { expectRefusal, outOfRange, unknownOption, wrongType } from './support.ts';

type Library = typeof publicLibrary;

const warnings: { text: string; code: string | undefined }[] = [];
beforeEach(() => {
  warnings.length = 0;
  vi.spyOn(process, 'emitWarning').mockImplementation(((text: string, options?: { code?: string }) => {
    warnings.push({ text, code: options?.code });
  }) as never);
  vi.stubEnv('SOFTMAX_NATIVE_DEVICE', undefined);
  vi.stubEnv('CUDA_VISIBLE_DEVICES', undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

/** Far more than the CPU and the bus of any machine could do, or nothing of it. */
const fastBus = { upload: 1e15, download: 1e15, staging: 1e15, launch: 1e-12 };
const slowBus = { upload: 1, download: 1, staging: 1, launch: 1 };

const random = randomFrom(50);
const large = new Float32Array(1 << 17).map(() => random.gaussian());
const shape = [128, 1024];

const operations: [string, (library: Library, options: object) => FloatArray][] = [
  ['softmax', ({ softmax }, options) => softmax(large, { shape, ...options })],
  ['rowMax', ({ rowMax }, options) => rowMax(large, { shape, ...options }).max],
  [
    'softmaxJacobian',
    ({ softmaxJacobian }, options) =>
      softmaxJacobian(large.subarray(0, 1024), { shape: [4, 256], ...options }),
  ],
];

describe.each(operations)('%s', (name, call) => {
  const computes = ({ calls }: Fake): number => calls.filter((called) => called === name).length;

  it("computes on the CPU with device: 'cpu', and never looks for GPUs", async () => {
    const fake = fakeCuda({ started: true });
    const library = await libraryWith(fake);
    library.setAutoCosts(fastBus);
    call(library, { device: 'cpu' });
    expect(fake.calls).toEqual([]);
  });

  it.each(['cuda', 'cuda:0'])('computes on the GPU with device: %j, the same bits', async (device) => {
    const fake = fakeCuda();
    const library = await libraryWith(fake);
    const expected = call(library, { device: 'cpu' });
    expectSameBits(call(library, { device }), expected, device);
    expect(computes(fake)).toBe(1);
    const small = large.slice(0, 4);
    if (name === 'softmax') {
      expect(library.softmax(small, { device: 'cuda' })).toEqual(library.softmax(small, { device: 'cpu' }));
      expect(computes(fake)).toBe(2);
    }
  });

  it("with device: 'auto' looks for no GPU where the start of one would cost more than it saves", async () => {
    const fake = fakeCuda();
    const library = await libraryWith(fake);
    library.setAutoCosts(fastBus);
    call(library, { device: 'auto' });
    call(library, {});
    expect(fake.calls).toEqual([]);
  });

  it("with device: 'auto' takes a GPU that is started where it is faster", async () => {
    const fake = fakeCuda();
    const library = await libraryWith(fake);
    await library.cudaDevice().synchronize();
    library.setAutoCosts(fastBus);
    const result = call(library, { threads: 1 });
    expect(computes(fake)).toBe(1);
    expectSameBits(result, call(library, { device: 'cpu' }), 'auto');

    library.setAutoCosts(slowBus);
    call(library, { threads: 1 });
    expect(computes(fake)).toBe(1);
  });

  it("with device: 'auto' gives the CPU's result where the GPU fails, and uses none from then on", async () => {
    const failing = { [name]: nativeError(2, 'cudaErrorMemoryAllocation') };
    const fake = fakeCuda({ failing });
    const library = await libraryWith(fake);
    await library.cudaDevice().synchronize();
    library.setAutoCosts(fastBus);
    const expected = call(library, { device: 'cpu' });
    for (let time = 0; time < 2; time++) expectSameBits(call(library, { threads: 1 }), expected, 'auto');
    expect(computes(fake)).toBe(1);
    expect(library.deviceInfo().cuda).toMatchObject({
      auto: { failure: expect.stringContaining('cudaErrorMemoryAllocation') as string },
    });
    expect(warnings).toEqual([
      {
        text: expect.stringMatching(/^'auto' computes on the CPU from now on: .*cudaErrorMemoryAllocation/),
        code: 'SOFTMAX_CUDA_UNUSABLE',
      },
    ]);
  });

  it('on a GPU that is asked for throws what CUDA reports', async () => {
    const fake = fakeCuda({ failing: { [name]: nativeError(700, 'cudaErrorIllegalAddress') } });
    const library = await libraryWith(fake);
    let error: unknown;
    try {
      call(library, { device: 'cuda' });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(library.CudaError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'CudaError',
      code: 'ERR_CUDA',
      cudaCode: 700,
      cudaName: 'cudaErrorIllegalAddress',
      message: expect.stringContaining('cudaErrorIllegalAddress (700)') as string,
    });
    expect((error as Error).stack).toMatch(/^CudaError: [^]*placement\.test\.ts/);
  });

  it('refuses another device', async () => {
    const library = await libraryWith(fakeCuda());
    for (const device of ['gpu', '', 'CUDA', 'cuda:', 'cuda:-1', 'cuda:1.5', 'cuda:00000', ' cpu']) {
      const refusal = outOfRange(/^Expected 'auto', 'cpu', 'cuda' or 'cuda:N' for device but received '/);
      expectRefusal(() => call(library, { device }), refusal);
    }
    for (const device of [null, 0, true, {}]) {
      const refusal = wrongType(/^Expected 'auto', 'cpu', 'cuda' or 'cuda:N' for device but received/);
      expectRefusal(() => call(library, { device }), refusal);
    }
  });
});

describe("'auto'", () => {
  it('below its floor asks nobody, whatever the costs', async () => {
    const fake = fakeCuda({ started: true });
    const { softmax, setAutoCosts } = await libraryWith(fake);
    setAutoCosts(fastBus);
    softmax(large.subarray(0, 65_535));
    expect(fake.calls).toEqual([]);
  });

  it('starts a GPU for work that is worth it, measures it once, and decides by that', async () => {
    const fake = fakeCuda();
    const { softmax } = await libraryWith(fake, 'scalar');
    // Portable code on one thread is estimated at 0.5 s, more than the start of a GPU.
    const x = new Float32Array(2 ** 23);
    softmax(x, { shape: [2, 2 ** 22], axis: 0, threads: 1, out: x });
    expect(fake.calls.slice(0, 3)).toEqual(['info', 'start', 'costs']);
  });

  it('does not overwrite logits twice: a failure in place is thrown', async () => {
    const fake = fakeCuda({ failing: { softmax: nativeError(719, 'cudaErrorLaunchFailure') } });
    const { CudaError, cudaDevice, setAutoCosts, softmax } = await libraryWith(fake);
    await cudaDevice().synchronize();
    setAutoCosts(fastBus);
    const x = large.slice();
    expect(() => softmax(x, { out: x, threads: 1 })).toThrow(CudaError);
    expect(softmax(x, { out: x, threads: 1 })).toBe(x);
    const shared = new Float32Array(new SharedArrayBuffer(x.byteLength));
    expect(softmax(shared, { threads: 1 })).toHaveLength(x.length);
  });

  it('gives the result of the CPU in place too, where the GPU is known to have written nothing', async () => {
    const error = Object.assign(nativeError(2, 'cudaErrorMemoryAllocation'), { wroteNothing: true });
    const { cudaDevice, setAutoCosts, softmax } = await libraryWith(
      fakeCuda({ failing: { softmax: error } }),
    );
    await cudaDevice().synchronize();
    setAutoCosts(fastBus);
    const x = large.slice();
    const expected = softmax(x, { shape, device: 'cpu' });
    expect(softmax(x, { shape, out: x, threads: 1 })).toBe(x);
    expectSameBits(x, expected, 'in place');
  });

  it('gives the result of the CPU beside logits of the same buffer', async () => {
    const failing = {
      softmax: nativeError(719, 'cudaErrorLaunchFailure'),
      rowMax: nativeError(719, 'cudaErrorLaunchFailure'),
    };
    for (const Memory of [ArrayBuffer, SharedArrayBuffer]) {
      const memory = new Memory(8 * large.length);
      const x = new Float32Array(memory, 0, large.length);
      x.set(large);
      const out = new Float32Array(memory, 4 * large.length);
      for (const call of ['softmax', 'rowMax'] as const) {
        const library = await libraryWith(fakeCuda({ failing }));
        await library.cudaDevice().synchronize();
        library.setAutoCosts(fastBus);
        if (call === 'softmax') {
          library.softmax(x, { shape, out, threads: 1 });
          expectSameBits(out, library.softmax(large, { shape, device: 'cpu' }), call);
        } else {
          const max = out.subarray(0, 128);
          library.rowMax(x, { shape, out: { max }, threads: 1 });
          expectSameBits(max, library.rowMax(large, { shape, device: 'cpu' }).max, call);
        }
      }
    }
  });

  it.each(['start', 'costs'] as const)('leaves a GPU alone whose %s fails', async (name) => {
    const fake = fakeCuda({
      started: name === 'costs',
      failing: { [name]: nativeError(46, 'cudaErrorDevicesUnavailable') },
    });
    const { deviceInfo, softmax } = await libraryWith(fake, 'scalar');
    const x = new Float32Array(2 ** 23);
    softmax(x, { shape: [2, 2 ** 22], axis: 0, threads: 1, out: x });
    expect(x[0]).toBe(0.5);
    expect(fake.calls).not.toContain('softmax');
    expect(warnings.map(({ code }) => code)).toEqual(['SOFTMAX_CUDA_UNUSABLE']);
    if (name === 'start') expect(deviceInfo().cuda).toMatchObject({ available: true });
  });

  it('throws errors of the arguments as the CPU does', async () => {
    const fake = fakeCuda({
      failing: { softmax: Object.assign(new RangeError('part of x'), { code: 'ERR_OVERLAP' }) },
    });
    const { cudaDevice, setAutoCosts, softmax } = await libraryWith(fake);
    await cudaDevice().synchronize();
    setAutoCosts(fastBus);
    expect(() => softmax(large, { threads: 1 })).toThrow(RangeError);
    expect(() => softmax(large, { device: 'cuda' })).toThrow(RangeError);
    expect(warnings).toEqual([]);
  });
});

describe('setAutoCosts', () => {
  it('replaces some or all of the costs, until it is called without any', async () => {
    const { deviceInfo, setAutoCosts } = await libraryWith(fakeCuda());
    const costs = (): unknown => (deviceInfo().cuda as { auto: unknown }).auto;
    const assumed = { upload: 25e9, download: 25e9, staging: 10e9, launch: 10e-6 };
    expect(costs()).toMatchObject({ source: 'assumed', costs: assumed, started: false });
    setAutoCosts({ upload: 1e9 });
    expect(costs()).toMatchObject({ source: 'given', costs: { ...assumed, upload: 1e9 } });
    setAutoCosts(slowBus);
    expect(costs()).toMatchObject({ source: 'given', costs: slowBus });
    setAutoCosts();
    expect(costs()).toMatchObject({ source: 'assumed', costs: assumed });
  });

  it('refuses what is no cost, and changes nothing then', async () => {
    const { deviceInfo, setAutoCosts } = await libraryWith(fakeCuda());
    const before = deviceInfo();
    const set = setAutoCosts as (costs: unknown) => void;
    expectRefusal(() => set(null), wrongType('Expected an object for costs but received null'));
    expectRefusal(() => set(3), wrongType(/^Expected an object for costs/));
    expectRefusal(
      () => set({ upload: 1e9, launch: '1' }),
      wrongType("Expected a number for costs.launch but received '1'"),
    );
    expectRefusal(
      () => set({ upload: 1e9, uplaod: 1 }),
      unknownOption(/for the name of a cost but received 'uplaod'$/),
    );
    expectRefusal(() => set([]), wrongType(/^Expected an object for costs/));
    for (const value of [0, -1, NaN, Infinity]) {
      expectRefusal(
        () => set({ staging: value }),
        outOfRange(/^Expected a positive number for costs.staging/),
      );
    }
    expect(deviceInfo()).toEqual(before);
  });
});

describe('the default device', () => {
  it("is 'auto'", async () => {
    const { deviceInfo } = await libraryWith(fakeCuda());
    expect(deviceInfo().defaultDevice).toBe('auto');
  });

  it('is what setDefaultDevice says', async () => {
    const fake = fakeCuda();
    const { deviceInfo, setDefaultDevice, softmax } = await libraryWith(fake);
    setDefaultDevice('cuda');
    expect(deviceInfo().defaultDevice).toBe('cuda');
    expectSameBits(softmax(large), softmax(large, { device: 'cpu' }), 'default cuda');
    expect(fake.calls.filter((name) => name === 'softmax')).toHaveLength(1);
    setDefaultDevice('auto');
    softmax(large);
    expect(fake.calls.filter((name) => name === 'softmax')).toHaveLength(1);
  });

  it('is what SOFTMAX_NATIVE_DEVICE says, unless setDefaultDevice says otherwise', async () => {
    vi.stubEnv('SOFTMAX_NATIVE_DEVICE', 'cuda:0');
    const fake = fakeCuda();
    const { deviceInfo, setDefaultDevice, softmax } = await libraryWith(fake);
    expect(deviceInfo().defaultDevice).toBe('cuda:0');
    softmax(large.subarray(0, 4));
    expect(fake.calls).toContain('softmax');
    setDefaultDevice('cpu');
    softmax(large.subarray(0, 4));
    expect(fake.calls.filter((name) => name === 'softmax')).toHaveLength(1);
  });

  it('is auto where SOFTMAX_NATIVE_DEVICE is empty', async () => {
    vi.stubEnv('SOFTMAX_NATIVE_DEVICE', '');
    const { deviceInfo } = await libraryWith(fakeCuda());
    expect(deviceInfo().defaultDevice).toBe('auto');
  });

  it('that is none is refused by every call that does not name its own', async () => {
    vi.stubEnv('SOFTMAX_NATIVE_DEVICE', 'gpu');
    const { deviceInfo, rowMax, setDefaultDevice, softmax } = await libraryWith(fakeCuda());
    expect(deviceInfo()).toMatchObject({ backend: 'cpu', defaultDevice: 'gpu' });
    const refusal = outOfRange(
      "Expected 'auto', 'cpu', 'cuda' or 'cuda:N' for SOFTMAX_NATIVE_DEVICE but received 'gpu'",
    );
    expectRefusal(() => softmax([0, 0]), refusal);
    expectRefusal(() => rowMax([0, 0]), refusal);
    expect(softmax([0, 0], { device: 'cpu' })).toEqual([0.5, 0.5]);
    expect(() => setDefaultDevice('gpu' as 'cuda')).toThrow(RangeError);
    setDefaultDevice('auto');
    expect(softmax([0, 0])).toEqual([0.5, 0.5]);
  });

  it('cannot be a GPU that cannot be used', async () => {
    const { deviceInfo, setDefaultDevice } = await libraryWith(fakeCuda({ info: { devices: [] } }));
    expectRefusal(() => setDefaultDevice('cuda'), {
      type: Error,
      code: 'ERR_CUDA_UNAVAILABLE',
      message:
        /^Expected a GPU that can be used for device 'cuda' but received none: The NVIDIA driver shows no GPU\.$/,
    });
    expect(deviceInfo().defaultDevice).toBe('auto');
  });
});

const old = {
  ...gpu,
  name: 'Old 1000',
  computeCapability: '6.1',
  reason: 'Its compute capability 6.1 is below 7.5',
};
const reasons: [string, Partial<NativeCudaInfo>, RegExp, boolean][] = [
  [
    'a build without CUDA',
    { built: false, runtimeVersion: 0, driverVersion: 0, devices: [] },
    /^This build has no CUDA kernels: it was compiled without CUDA\.$/,
    false,
  ],
  [
    'a machine without a driver',
    {
      driverVersion: 0,
      devices: [],
      error: { code: 35, name: 'cudaErrorInsufficientDriver', text: 'too old' },
    },
    /^There is no NVIDIA driver; this build needs driver r580 or later, for CUDA 13\.0\.$/,
    false,
  ],
  [
    'a driver that is too old',
    {
      driverVersion: 12080,
      devices: [],
      error: { code: 35, name: 'cudaErrorInsufficientDriver', text: 'too old' },
    },
    /^The NVIDIA driver is too old, it supports CUDA 12\.8: this build needs driver r580 or later, for CUDA 13\.0\.$/,
    true,
  ],
  [
    'a driver without a GPU',
    {
      devices: [],
      error: { code: 100, name: 'cudaErrorNoDevice', text: 'no CUDA-capable device is detected' },
    },
    /^The NVIDIA driver shows no GPU\.$/,
    false,
  ],
  [
    'a driver that cannot be used',
    {
      devices: [],
      error: { code: 802, name: 'cudaErrorSystemNotReady', text: 'system not yet initialized' },
    },
    /^The NVIDIA driver cannot be used: cudaErrorSystemNotReady \(802\): system not yet initialized\.$/,
    true,
  ],
  [
    'GPUs that are too old',
    { devices: [old, { ...old, name: 'Old 2000' }] },
    /^cuda:0, Old 1000, cannot be used: Its compute .* 7\.5\. cuda:1, Old 2000, cannot be used: Its compute .* 7\.5\.$/,
    true,
  ],
];

describe.each(reasons)('%s', (_name, info, reason, warns) => {
  it('is what deviceInfo says, and what a call says that asks for a GPU', async () => {
    const { allocPinned, cudaDevice, deviceInfo, softmax } = await libraryWith(fakeCuda({ info }));
    const { backend, cuda } = deviceInfo();
    expect(backend).toBe('cpu');
    expect(cuda).toMatchObject({ available: false, reason: expect.stringMatching(reason) as string });
    const message = new RegExp(
      `^Expected a GPU that can be used for device '.*' but received none: ${reason.source.slice(1)}`,
    );
    const refusal = { type: Error, code: 'ERR_CUDA_UNAVAILABLE', message };
    expectRefusal(() => softmax([0, 0], { device: 'cuda' }), refusal);
    expectRefusal(() => softmax([0, 0], { device: 'cuda:0' }), refusal);
    expectRefusal(() => softmax([], { device: 'cuda' }), refusal);
    expectRefusal(() => cudaDevice(), refusal);
    expectRefusal(() => cudaDevice(0), refusal);
    expect(softmax([0, 0])).toEqual([0.5, 0.5]);
    expect(allocPinned('float32', 2)).toEqual(new Float32Array(2));
  });

  it('is warned of once, if a driver is there that cannot be used', async () => {
    const { cudaDevice, deviceInfo } = await libraryWith(fakeCuda({ info }));
    deviceInfo();
    deviceInfo();
    expect(() => cudaDevice()).toThrow(/none/);
    expect(warnings.map(({ code }) => code)).toEqual(warns ? ['SOFTMAX_CUDA_UNUSABLE'] : []);
    if (warns) expect(warnings[0]?.text.replace(/^No GPU is used: /, '')).toMatch(reason);
  });
});

describe('deviceInfo', () => {
  it('says which GPUs CUDA_VISIBLE_DEVICES hides', async () => {
    vi.stubEnv('CUDA_VISIBLE_DEVICES', '-1');
    const { deviceInfo } = await libraryWith(fakeCuda({ info: { devices: [] } }));
    const reason = "The NVIDIA driver shows no GPU; CUDA_VISIBLE_DEVICES is '-1'.";
    const versions = { driverVersion: '13.0', runtimeVersion: '13.0', minimumDriver: 'r580' };
    expect(deviceInfo().cuda).toEqual({ available: false, reason, ...versions });
  });

  it('gives no versions that there are not', async () => {
    const absent = await libraryWith(fakeCuda({ info: reasons[0]![1] }));
    expect(Object.keys(absent.deviceInfo().cuda)).toEqual(['available', 'reason']);
    const none = await libraryWith(fakeCuda({ info: reasons[1]![1] }));
    expect(Object.keys(none.deviceInfo().cuda)).toEqual([
      'available',
      'reason',
      'runtimeVersion',
      'minimumDriver',
    ]);
  });

  it('lists the GPUs, and why one of them is not used', async () => {
    const fake = fakeCuda({ info: { devices: [old, gpu] } });
    const { cudaDevice, deviceInfo, softmax } = await libraryWith(fake);
    const { cuda } = deviceInfo();
    expect(cuda).toMatchObject({
      available: true,
      driverVersion: '13.0',
      runtimeVersion: '13.0',
      minimumDriver: 'r580',
      devices: [
        { device: 'cuda:0', name: 'Old 1000', computeCapability: '6.1', usable: false, reason: old.reason },
        { device: 'cuda:1', name: 'Fake 9000', multiprocessors: 132, memory: 2 ** 36, usable: true },
      ],
    });
    // The first that can be used.
    expect(cudaDevice()).toMatchObject({ index: 1, name: 'Fake 9000' });
    expect(cudaDevice()).toBe(cudaDevice(1));
    expectRefusal(() => softmax([0], { device: 'cuda:0' }), {
      type: Error,
      code: 'ERR_CUDA_UNAVAILABLE',
      message: /received none: cuda:0, Old 1000, cannot be used: Its compute capability/,
    });
    expectRefusal(() => cudaDevice(7), {
      type: Error,
      code: 'ERR_CUDA_UNAVAILABLE',
      message:
        "Expected a GPU that can be used for device 'cuda:7' but received none: there is only cuda:0, cuda:1.",
    });
  });

  it('starts no GPU, and says what auto would choose', async () => {
    const fake = fakeCuda();
    const { cudaDevice, deviceInfo } = await libraryWith(fake);
    const auto = (): AutoInfo => {
      const { cuda } = deviceInfo();
      if (!cuda.available) throw new Error(cuda.reason);
      return cuda.auto;
    };
    expect(new Set(fake.calls)).toEqual(new Set());
    expect(auto()).toMatchObject({ started: false, source: 'assumed' });
    expect(new Set(auto().choices.map(({ device }) => device))).toEqual(new Set(['cpu']));
    expect(new Set(fake.calls)).toEqual(new Set(['info']));
    await cudaDevice().synchronize();
    expect(auto()).toMatchObject({ started: true, source: 'measured', costs: { upload: 5e10 } });
    for (const choice of auto().choices) {
      expect(choice).toEqual({
        operation: expect.stringMatching(/^(softmax|rowMax|softmaxJacobian)$/) as string,
        shape: [expect.any(Number), expect.any(Number)] as number[],
        pinned: expect.any(Boolean) as boolean,
        device: expect.stringMatching(/^(cpu|cuda)$/) as string,
        cpuSeconds: expect.any(Number) as number,
        cudaSeconds: expect.any(Number) as number,
      });
    }
  });

  it('never throws', async () => {
    const fake = fakeCuda({ failing: { info: new Error('no answer') } });
    const { deviceInfo } = await libraryWith(fake);
    expect(deviceInfo().cuda).toEqual({ available: false, reason: 'no answer' });
  });

  it('says that a GPU was lost', async () => {
    const lost: Partial<NativeCudaInfo> = {};
    const fake = fakeCuda({ info: lost });
    const library = await libraryWith(fake);
    library.softmax(large, { device: 'cuda' });
    fake.failing.softmax = nativeError(719, 'cudaErrorLaunchFailure');
    const now = fakeCuda({ info: { devices: [{ ...gpu, reason: 'Launching softmax failed' }] } });
    fake.cuda.info = now.cuda.info;
    expect(() => library.softmax(large, { device: 'cuda' })).toThrow(library.CudaError);
    expect(library.deviceInfo().cuda).toMatchObject({
      available: false,
      reason: 'cuda:0, Fake 9000, cannot be used: Launching softmax failed.',
    });
    expectRefusal(() => library.softmax(large, { device: 'cuda' }), {
      type: Error,
      code: 'ERR_CUDA_UNAVAILABLE',
      message: /Launching softmax failed/,
    });
    expect(library.softmax(Float32Array.of(0, 0))).toEqual(Float32Array.of(0.5, 0.5));
  });
});

describe('allocPinned', () => {
  it('gives arrays of page-locked memory, which auto knows', async () => {
    const fake = fakeCuda();
    const { allocPinned, cudaDevice, setAutoCosts, softmax } = await libraryWith(fake);
    const x = allocPinned('float32', 1 << 20);
    const out = allocPinned(Float32Array, 1 << 20);
    expect(fake.calls.filter((name) => name === 'allocatePinned')).toHaveLength(2);
    await cudaDevice().synchronize();
    // Staging alone would take longer than the CPU.
    setAutoCosts({ ...fastBus, staging: 1 });
    softmax(x, { out: new Float32Array(1 << 20), threads: 1 });
    softmax(x.slice(), { out, threads: 1 });
    expect(fake.calls).not.toContain('softmax');
    softmax(x.subarray(1), { out: out.subarray(1), threads: 1 });
    expect(fake.calls).toContain('softmax');
  });

  it('gives either type by its name or its constructor, and refuses others', async () => {
    const { allocPinned } = await libraryWith(fakeCuda());
    expect(allocPinned('float32', 3)).toEqual(new Float32Array(3));
    expect(allocPinned(Float32Array, 3)).toEqual(new Float32Array(3));
    expect(allocPinned('float64', 3)).toEqual(new Float64Array(3));
    expect(allocPinned(Float64Array, 3)).toEqual(new Float64Array(3));
    expect(allocPinned('float64', 0)).toEqual(new Float64Array(0));
    const call = allocPinned as (type: unknown, length: unknown) => unknown;
    for (const type of ['int32', Int32Array, undefined, null, 3, Array]) {
      expectRefusal(
        () => call(type, 3),
        wrongType(/^Expected 'float32', 'float64', Float32Array or Float64Array for type/),
      );
    }
    expectRefusal(() => call('float32', '3'), wrongType("Expected an integer for length but received '3'"));
    for (const length of [-1, 0.5, NaN, Infinity]) {
      expectRefusal(
        () => call('float32', length),
        outOfRange(/^Expected a safe integer of at least 0 for length/),
      );
    }
  });

  it('gives an ordinary array, which isPinned tells, where the runtime takes no memory of others', async () => {
    for (const takesMemory of [true, false]) {
      const fake = fakeCuda({ started: true, takesMemory });
      const { allocPinned, isPinned, setAutoCosts, softmax } = await libraryWith(fake, 'scalar');
      const x = allocPinned('float32', 1 << 20);
      expect([x.length, x.every((value) => value === 0)]).toEqual([1 << 20, true]);
      const views = [x, x.subarray(5, 7), new Uint8Array(x.buffer), new DataView(x.buffer)];
      expect(views.map(isPinned)).toEqual(views.map(() => takesMemory));
      expect(isPinned(allocPinned('float64', 0))).toBe(false);
      // 'auto' counts the copy that such arrays need.
      setAutoCosts({ ...fastBus, staging: 1 });
      softmax(x, { out: x, threads: 1 });
      expect(fake.calls.includes('softmax')).toBe(takesMemory);
      for (const other of [null, 3, [1], x.buffer]) {
        expectRefusal(() => isPinned(other as never), wrongType(/^Expected a typed array for array but/));
      }
    }
    const { allocPinned, isPinned } = await libraryWith(fakeCuda({ info: { devices: [] } }));
    expect(isPinned(allocPinned('float32', 3))).toBe(false);
  });

  it('throws what CUDA reports', async () => {
    const failing = { allocatePinned: nativeError(2, 'cudaErrorMemoryAllocation') };
    const { allocPinned, CudaError } = await libraryWith(fakeCuda({ failing }));
    expect(() => allocPinned('float32', 3)).toThrow(CudaError);
  });
});
