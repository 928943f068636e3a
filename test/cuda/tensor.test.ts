// Tensors on a GPU: what they are made of and give back, the order of calls on them, their end, and what is refused.
import { inspect } from 'node:util';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  allocPinned,
  CudaError,
  cudaDevice,
  deviceInfo,
  DeviceTensor,
  rowMax,
  setDefaultDevice,
  softmax,
  softmaxJacobian,
  type Dtype,
} from '../../lib/index.ts';
import { expectSameBits } from '../support/bits.ts';
import { byName } from '../support/by-name.ts';
import { collectGarbage } from '../support/garbage.ts';
import { randomFrom } from '../support/random.ts';
import { FORMATS } from '../support/ulp.ts';
import {
  expectRefusal,
  outOfMemory,
  outOfRange,
  overlapping,
  shapeMismatch,
  unknownOption,
  wrongType,
  type Refusal,
} from '../unit/support.ts';
import { emulator, noGpu } from './support.ts';

const disposed = (name: string): Refusal => ({
  type: TypeError,
  code: 'ERR_DISPOSED',
  message: `Expected a tensor with memory for ${name} but received one that was disposed of`,
});

const noClone = wrongType(
  /^Expected a tensor of this thread, as a clone has no memory \(what its data\(\) gives can be sent\), for x but/,
);

/** Tensors of a test, disposed of when it ends. */
let kept: DeviceTensor<Dtype>[] = [];
function keep<Tensor extends DeviceTensor<Dtype>>(tensor: Tensor): Tensor {
  kept.push(tensor);
  return tensor;
}

const operations: ((x: DeviceTensor) => unknown)[] = [softmax, rowMax, softmaxJacobian].map(
  (call) => (x) => (call as typeof rowMax)(x),
);

const logits = [1, 5, 2, 7, 3, 7];
const x32 = (): DeviceTensor<'float32'> =>
  keep(cudaDevice().tensor(Float32Array.from(logits), { shape: [2, 3] }));
const x64 = (): DeviceTensor<'float64'> => keep(cudaDevice().tensor(logits, { shape: [2, 3] }));
const expected = softmax(Float32Array.from(logits), { shape: [2, 3], device: 'cpu' });

describe.skipIf(noGpu)('a tensor', () => {
  let count: number | undefined;
  beforeEach(() => {
    count = emulator?.live().device.count;
  });
  afterEach(() => {
    for (const tensor of kept) tensor.dispose();
    kept = [];
    const now = emulator?.live().device.count;
    if (now !== count)
      throw new Error(`${now} allocations on the GPU are left, and ${count} were there before`);
  });

  describe('is made', () => {
    it('of arrays, numbers, rows and objects, with the element type of each', () => {
      const device = cudaDevice();
      const values = [1.5, -2, 3, 0.1, 5, 6];
      const floats = Float32Array.from(values);
      const cases: [DeviceTensor<Dtype>, Dtype, number[], ArrayLike<number>][] = [
        [device.tensor(floats), 'float32', [6], floats],
        [device.tensor(floats, { shape: [2, 3] }), 'float32', [2, 3], floats],
        [device.tensor(floats.subarray(1, 4)), 'float32', [3], floats.slice(1, 4)],
        [device.tensor(Float64Array.from(values), { shape: [3, 1, 2] }), 'float64', [3, 1, 2], values],
        [device.tensor(values), 'float64', [6], values],
        [device.tensor([values, values]), 'float64', [2, 6], [...values, ...values]],
        [device.tensor(values, { dtype: 'float32', shape: [6] }), 'float32', [6], floats],
        [device.tensor(floats, { dtype: 'float64' }), 'float64', [6], Float64Array.from(floats)],
        [device.tensor({ data: floats, dims: [3, 2] }), 'float32', [3, 2], floats],
        [device.tensor({ data: floats, shape: [6, 1] }, { shape: [6, 1] }), 'float32', [6, 1], floats],
        [device.tensor(Int32Array.of(-1, 2 ** 31 - 1)), 'int32', [2], [-1, 2 ** 31 - 1]],
        [device.tensor(Int32Array.of(7), { dtype: 'int32', shape: [] }), 'int32', [], [7]],
        [device.tensor(new Float32Array(0)), 'float32', [0], []],
        [device.tensor([], { shape: [2, 0, 3] }), 'float64', [2, 0, 3], []],
        [device.empty([2, 0]), 'float32', [2, 0], []],
      ];
      for (const [tensor, dtype, shape, elements] of cases) {
        keep(tensor);
        expect(tensor).toBeInstanceOf(DeviceTensor);
        expect([tensor.dtype, tensor.shape, tensor.length]).toEqual([dtype, shape, elements.length]);
        expect([tensor.device, tensor.disposed]).toEqual([`cuda:${device.index}`, false]);
        expect(Array.from(tensor.dataSync())).toEqual(Array.from(elements));
        const type = { float32: Float32Array, float64: Float64Array, int32: Int32Array }[dtype];
        expect(tensor.dataSync()).toBeInstanceOf(type);
      }
    });

    it('of memory whose elements are not set', () => {
      const tensor = keep(cudaDevice().empty([3, 5], { dtype: 'int32' }));
      expect([tensor.dtype, tensor.shape, tensor.length]).toEqual(['int32', [3, 5], 15]);
      expect(keep(cudaDevice().empty([3])).dtype).toBe('float32');
    });

    it('of a copy: the array and the shape are free at once', () => {
      const x = new Float32Array(300_000).map((_, i) => i);
      const shape = [300, 1000];
      const tensor = keep(cudaDevice().tensor(x, { shape }));
      const copy = x.slice();
      x.fill(-1);
      shape[0] = 7;
      expectSameBits(tensor.dataSync(), copy, 'after the array changed');
      expect(tensor.shape).toEqual([300, 1000]);
    });

    it('of page-locked memory, which is free at once too, and gives its elements to such memory', () => {
      // More than the pieces hold that other arrays go through.
      const values = new Float32Array(2_100_000).map((_, i) => i);
      const x = allocPinned('float32', values.length);
      x.set(values);
      const tensor = keep(cudaDevice().tensor(x));
      x.fill(-1);
      const out = allocPinned('float32', values.length + 3).fill(42);
      expect(tensor.dataSync(out)).toBe(out);
      expectSameBits(out.subarray(0, values.length), values, 'page-locked');
      expect([...out.subarray(values.length)]).toEqual([42, 42, 42]);
    });

    it('with properties that cannot be changed', () => {
      const tensor = x32();
      expect(Object.isFrozen(tensor) && Object.isFrozen(tensor.shape)).toBe(true);
      expect(() => Object.assign(tensor, { length: 100 })).toThrow(TypeError);
      expect(inspect(tensor, { breakLength: Infinity })).toBe(
        `DeviceTensor { shape: [ 2, 3 ], dtype: 'float32', length: 6, device: '${tensor.device}' }`,
      );
    });

    it.each<[string, (device: ReturnType<typeof cudaDevice>) => unknown, Refusal]>([
      ['a shape of more elements', (device) => device.tensor(new Float32Array(3), { shape: [2, 2] }), shapeMismatch(/^Expected sizes whose product is 3, the length of x, for shape/)],
      ['a shape that x does not have', (device) => device.tensor([[1, 2]], { shape: [2] }), shapeMismatch(/^Expected the shape of x itself, \[ 1, 2 \],/)],
      ['no array', (device) => device.tensor(3 as never), wrongType(/^Expected Float32Array, .* for x but received 3/)],
      ['an unsigned array', (device) => device.tensor(new Uint32Array(3) as never), wrongType(/for x but received Uint32Array/)],
      ['indices as floats', (device) => device.tensor(new Int32Array(3), { dtype: 'float32' }), outOfRange(/^Expected 'int32' for dtype/)],
      ['floats as indices', (device) => device.tensor(new Float32Array(3), { dtype: 'int32' }), outOfRange(/^Expected 'float32' or 'float64' for dtype/)],
      ['another element type', (device) => device.empty([3], { dtype: 'float16' as never }), outOfRange(/^Expected 'float32', 'float64' or 'int32' for dtype but received 'float16'/)],
      ['an element type that is no name', (device) => device.empty([3], { dtype: 4 as never }), wrongType(/for dtype but received 4/)],
      ['a negative size', (device) => device.empty([3, -1]), outOfRange(/^Expected a safe integer of at least 0 for shape\[1\]/)],
      ['a size that is none', (device) => device.empty(['3'] as never), wrongType(/^Expected an integer for shape\[0\]/)],
      ['no shape', (device) => device.empty(3 as never), wrongType(/^Expected an array of sizes for shape/)],
      ['other options', (device) => device.empty([3], 'float32' as never), wrongType(/for options/)],
      ['sizes without bounds', (device) => device.empty([2 ** 50, 2 ** 50]), outOfMemory(/^Expected a size that can be allocated for the tensor/)],
    ])('not with %s', (_name, call, refusal) => {
      expectRefusal(() => call(cudaDevice()), refusal);
    }); // prettier-ignore

    it('not of more memory than the GPU has, and all is well afterwards', () => {
      let error: unknown;
      try {
        cudaDevice().empty([2 ** 50]);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(CudaError);
      expect(error).toMatchObject({ code: 'ERR_CUDA', cudaCode: 2, cudaName: 'cudaErrorMemoryAllocation' });
      expect((error as CudaError).message).toMatch(/failed: cudaErrorMemoryAllocation \(2\): \S/);
      expectSameBits(keep(softmax(x32())).dataSync(), expected, 'afterwards');
      expect(deviceInfo().cuda.available).toBe(true);
    });

    it('not of the memory of an array that is gone', () => {
      const gone = new Float32Array(3);
      structuredClone(gone.buffer, { transfer: [gone.buffer] });
      expectRefusal(() => cudaDevice().tensor(gone), {
        type: TypeError,
        code: 'ERR_DETACHED',
        message: /for x but received/,
      });
    });
  });

  describe('gives its elements', () => {
    it('to a new array, now or later', async () => {
      const tensor = x32();
      expect(tensor.dataSync()).toEqual(Float32Array.from(logits));
      expect(tensor.dataSync()).not.toBe(tensor.dataSync());
      const later = tensor.data();
      expect(later).toBeInstanceOf(Promise);
      expect(await later).toEqual(Float32Array.from(logits));
      expect(await keep(cudaDevice().empty([0])).data()).toEqual(new Float32Array(0));
      expect(await keep(cudaDevice().tensor(Int32Array.of(3))).data()).toEqual(Int32Array.of(3));
    });

    it('to an array of the caller, whose other elements stay', () => {
      const out = new Float32Array(9).fill(42);
      expect(x32().dataSync(out)).toBe(out);
      expect([...out]).toEqual([...logits, 42, 42, 42]);
      const shared = new Float64Array(new SharedArrayBuffer(64), 8, 6);
      expect(x64().dataSync(shared)).toBe(shared);
      expect([...shared]).toEqual(logits);
    });

    it('to that array itself, whatever its class says of its parts', () => {
      const run: string[] = [];
      class Own extends Float32Array {
        static get [Symbol.species](): Float32ArrayConstructor {
          run.push('species');
          return Float32Array;
        }
        override subarray(): never {
          run.push('subarray');
          return new Float32Array(6) as never;
        }
      }
      const out = new Own(9).fill(42);
      expect(x32().dataSync(out)).toBe(out);
      expect([run, [...out]]).toEqual([[], [...logits, 42, 42, 42]]);
    });

    it('with the arrays that there were when the library was loaded', async () => {
      const { Float32Array: original } = globalThis;
      const tensor = x32();
      let [now, later]: unknown[] = [];
      try {
        globalThis.Float32Array = function called(): never {
          throw new Error('called');
        } as never;
        [now, later] = [tensor.dataSync(), await tensor.data()];
      } finally {
        globalThis.Float32Array = original;
      }
      expect([now, later]).toEqual([Float32Array.from(logits), Float32Array.from(logits)]);
    });

    it('in no array of more elements than there can be', async () => {
      const owner = x32();
      // Nothing is read: the sizes are refused before.
      const tensor = keep(DeviceTensor.fromPointer(owner.pointer, { shape: [2 ** 33, 2 ** 14] }));
      const refusal = outOfMemory(
        /^Expected a size that can be allocated for the elements but received 14073/,
      );
      expectRefusal(() => tensor.dataSync(), refusal);
      const { type, ...words } = refusal;
      await expect(tensor.data()).rejects.toSatisfy((error) => error instanceof type);
      await expect(tensor.data()).rejects.toMatchObject({ code: words.code });
    });

    it('to no other array', () => {
      const tensor = x32();
      const refusals: [unknown, Refusal][] = [
        [new Float64Array(6), wrongType('Expected Float32Array for out but received Float64Array(6)')],
        [new Int32Array(6), wrongType(/^Expected Float32Array for out/)],
        [null, wrongType('Expected Float32Array for out but received null')],
        [[], wrongType(/^Expected Float32Array for out/)],
        [new Float32Array(5), shapeMismatch('Expected an array of at least 6 elements for out but received one of 5')],
      ]; // prettier-ignore
      for (const [out, refusal] of refusals) expectRefusal(() => tensor.dataSync(out as never), refusal);
      const indices = keep(cudaDevice().tensor(Int32Array.of(1)));
      expectRefusal(
        () => indices.dataSync(new Float32Array(1) as never),
        wrongType(/^Expected Int32Array for out/),
      );
    });

    it('as they are when data() is called, whatever is written or freed afterwards', async () => {
      const before = new Float32Array(200_000).map((_, i) => Math.sin(i));
      const tensor = cudaDevice().tensor(before, { shape: [200, 1000] });
      const first = tensor.data();
      softmax(tensor, { out: tensor });
      const second = tensor.data();
      tensor.dispose();
      // Takes the memory that was freed.
      keep(cudaDevice().tensor(new Float32Array(200_000).fill(-1)));
      expectSameBits(await first, before, 'before softmax');
      expectSameBits(await second, softmax(before, { shape: [200, 1000], device: 'cpu' }), 'after softmax');
    });

    it('while the event loop goes on, to many at once', async () => {
      const tensors = Array.from({ length: 20 }, (_, i) =>
        keep(cudaDevice().tensor(new Float64Array(1000).fill(i))),
      );
      let turns = 0;
      const counting = setInterval(() => turns++, 0);
      const all = await Promise.all(tensors.map(async (tensor) => tensor.data()));
      await cudaDevice().synchronize();
      clearInterval(counting);
      expect(all.map((data) => data[999])).toEqual(tensors.map((_, i) => i));
      await new Promise(setImmediate);
    });
  });

  describe.each(byName(FORMATS))('as an argument, in %s', (_format, format) => {
    const random = randomFrom(70);
    const host = format.array(60).map(() => random.gaussian());

    it('gives tensors', () => {
      const x = keep(cudaDevice().tensor(host, { shape: [3, 4, 5] }));
      const y = keep(softmax(x, { axis: 1 }));
      expect([y.shape, y.dtype, y.device]).toEqual([[3, 4, 5], format.name, x.device]);
      expectSameBits(y.dataSync(), softmax(host, { shape: [3, 4, 5], axis: 1, device: 'cpu' }), 'softmax');

      const { max, argmax, shape } = rowMax(x, { axis: 0, keepdims: true });
      keep(max);
      keep(argmax);
      expect([shape, max.shape, argmax.shape]).toEqual([[1, 4, 5], [1, 4, 5], [1, 4, 5]]); // prettier-ignore
      expect([max.dtype, argmax.dtype]).toEqual([format.name, 'int32']);
      const maxima = rowMax(host, { shape: [3, 4, 5], axis: 0, device: 'cpu' });
      expect([max.dataSync(), argmax.dataSync()]).toEqual([maxima.max, maxima.argmax]);

      const jacobian = keep(softmaxJacobian(x));
      expect([jacobian.shape, jacobian.dtype]).toEqual([[3, 4, 5, 5], format.name]);
      const entries = softmaxJacobian(host, { shape: [3, 4, 5], device: 'cpu' });
      expectSameBits(jacobian.dataSync(), entries, 'softmaxJacobian');
    });

    it('of one row gives one maximum, of an empty shape', () => {
      const row = rowMax(keep(cudaDevice().tensor(host)));
      expect([keep(row.max).shape, keep(row.argmax).shape, row.shape]).toEqual([[], [], []]);
      expect(row.argmax.dataSync()).toEqual(rowMax(host, { device: 'cpu' }).argmax);
      const max = keep(cudaDevice().empty([], { dtype: format.name }));
      const results = rowMax(keep(cudaDevice().tensor(host)), { out: { max } });
      keep(results.argmax);
      expect(results.max).toBe(max);
    });

    it('and as out is returned itself', () => {
      const x = keep(cudaDevice().tensor(host, { shape: [6, 10] }));
      const out = keep(cudaDevice().empty([6, 10], { dtype: format.name }));
      const max = keep(cudaDevice().empty([6], { dtype: format.name }));
      const argmax = keep(cudaDevice().empty([6], { dtype: 'int32' }));
      const jacobian = keep(cudaDevice().empty([6, 10, 10], { dtype: format.name }));
      expect(softmax(x, { out })).toBe(out);
      const results = rowMax(x, { out: { max, argmax } });
      expect(results.max).toBe(max);
      expect(results.argmax).toBe(argmax);
      expect(keep(rowMax(x, { out: { argmax } }).max)).not.toBe(max);
      expect(softmaxJacobian(x, { out: jacobian })).toBe(jacobian);
      expectSameBits(out.dataSync(), softmax(host, { shape: [6, 10], device: 'cpu' }), 'softmax');
      const entries = softmaxJacobian(host, { shape: [6, 10], device: 'cpu' });
      expectSameBits(jacobian.dataSync(), entries, 'softmaxJacobian');
      expectSameBits(x.dataSync(), host, 'x');
      expect(softmax(x, { out: x })).toBe(x);
      expectSameBits(x.dataSync(), out.dataSync(), 'in place');
    });
  });

  it('is computed on in the order of the calls, without waiting', () => {
    const random = randomFrom(71);
    const host = new Float32Array(40 * 257).map(() => 30 * random.gaussian());
    let cpu = host;
    const x = keep(cudaDevice().tensor(host, { shape: [40, 257] }));
    for (let round = 0; round < 6; round++) {
      const axis = round % 2;
      const options = { shape: [40, 257], axis };
      cpu = softmax(cpu, { ...options, device: 'cpu' });
      softmax(x, { axis, out: x });
      const { max, argmax } = rowMax(x, { axis });
      const maxima = rowMax(cpu, { ...options, device: 'cpu' });
      if (round === 3) expect(argmax.dataSync()).toEqual(maxima.argmax);
      for (const tensor of [max, argmax]) tensor.dispose();
      // Freed before it was computed, as far as the host knows.
      softmaxJacobian(keep(cudaDevice().tensor(host, { shape: [257, 40] }))).dispose();
    }
    expectSameBits(x.dataSync(), cpu, 'six times');
  });

  it("is computed where it is, whatever 'threads' and the default device say", () => {
    const x = x32();
    try {
      setDefaultDevice('cpu');
      for (const device of [undefined, 'auto', 'cuda', x.device] as const) {
        expectSameBits(
          keep(softmax(x, { device, threads: 1, shape: [2, 3] })).dataSync(),
          expected,
          String(device),
        );
      }
    } finally {
      setDefaultDevice('auto');
    }
  });

  it.each<[string, (x: DeviceTensor<'float32'>) => unknown, Refusal]>([
    ['on the CPU', (x) => softmax(x, { device: 'cpu' }), outOfRange(/^Expected 'cuda:\d', where x is \(its data\(\) gives an array for the CPU\), for device but received 'cpu'/)],
    ['on another GPU', (x) => rowMax(x, { device: 'cuda:77' }), outOfRange(/^Expected 'cuda:\d', where x is .* but received 'cuda:77'/)],
    ['on no device', (x) => softmaxJacobian(x, { device: 0 as never }), wrongType(/^Expected 'cuda:\d' for device but received 0/)],
    ['in another shape', (x) => softmax(x, { shape: [6] }), shapeMismatch(/^Expected the shape of x itself, \[ 2, 3 \],/)],
    ['along an axis that it does not have', (x) => rowMax(x, { axis: 2 }), outOfRange(/^Expected an integer from -2 to 1 for axis/)],
    ['along another axis than the last for the Jacobian', (x) => softmaxJacobian(x, { axis: 0 } as never), outOfRange(/^Expected the last axis, -1, for axis/)],
    ['with other threads', (x) => softmax(x, { threads: 0 }), outOfRange(/for threads/)],
    ['with other keepdims', (x) => rowMax(x, { keepdims: 1 as never }), wrongType(/for keepdims/)],
    ['to an array', (x) => softmax(x, { out: new Float32Array(6) as never }), wrongType(/^Expected a tensor of float32 on cuda:\d for out but received Float32Array\(6\)/)],
    ['to a tensor of another type', (x) => softmax(x, { out: x64() as never }), wrongType(/^Expected a tensor of float32 on cuda:\d for out but received DeviceTensor/)],
    ['to a tensor of another shape', (x) => softmax(x, { out: keep(cudaDevice().empty([6], { dtype: 'float32' })) }), shapeMismatch(/^Expected the result's shape, \[2, 3\], for out.shape but received \[ 6 \]/)],
    ['to too small a tensor', (x) => softmaxJacobian(x, { out: x32() }), shapeMismatch(/^Expected the result's shape, \[2, 3, 3\], for out.shape/)],
    ['to nothing', (x) => softmax(x, { out: null as never }), wrongType(/^Expected a tensor of float32 on cuda:\d for out but received null/)],
    ['to a tensor for two results', (x) => rowMax(x, { out: x32() as never }), wrongType(/^Expected an object { max, argmax } for out/)],
    ['with maxima as indices', (x) => rowMax(x, { out: { argmax: keep(cudaDevice().empty([2])) as never } }), wrongType(/^Expected a tensor of int32 on cuda:\d for out.argmax/)],
    ['with indices as maxima', (x) => rowMax(x, { out: { max: keep(cudaDevice().empty([2], { dtype: 'int32' })) as never } }), wrongType(/^Expected a tensor of float32 on cuda:\d for out.max/)],
    ['with maxima of another shape', (x) => rowMax(x, { out: { max: keep(cudaDevice().empty([3])) } }), shapeMismatch(/^Expected the result's shape, \[2\], for out.max.shape/)],
  ])('is not computed on %s', (_name, call, refusal) => {
    const x = x32();
    expectRefusal(() => call(x), refusal);
    expect([...x.dataSync()]).toEqual(logits);
  }); // prettier-ignore

  it('of indices has no softmax', () => {
    const indices = keep(cudaDevice().tensor(Int32Array.of(1, 2))) as never;
    for (const call of operations) {
      expectRefusal(
        () => call(indices),
        wrongType(/^Expected a tensor of float32 or float64 for x but received DeviceTensor/),
      );
    }
  });

  it('is no out for an array of the host', () => {
    const out = x32() as never;
    expectRefusal(() => softmax(new Float32Array(6), { out }), wrongType(/^Expected Float32Array for out/));
    expectRefusal(
      () => softmax({ data: new Float32Array(6), shape: [2, 3] }, { out }),
      wrongType(/^Expected Float32Array or \{ data \} for out but received DeviceTensor/),
    );
    expectRefusal(
      () => rowMax(new Float32Array(6), { out: { max: out } }),
      wrongType(/^Expected Float32Array for out.max/),
    );
    expectRefusal(
      () => cudaDevice().tensor(out),
      wrongType(/^Expected Float32Array, .* for x but received DeviceTensor/),
    );
  });

  describe('that was disposed of', () => {
    const gone = (): DeviceTensor<'float32'> => {
      const tensor = x32();
      tensor.dispose();
      return tensor;
    };

    it('says so, and what it was; disposing of it again does nothing', () => {
      const tensor = gone();
      expect(tensor.disposed).toBe(true);
      expect([tensor.shape, tensor.dtype, tensor.length]).toEqual([[2, 3], 'float32', 6]);
      tensor.dispose();
      tensor[Symbol.dispose]();
      expect(tensor.disposed).toBe(true);
    });

    it('is disposed of by using', () => {
      const tensor = x32();
      // What `using tensor = ...` does at the end of its block.
      tensor[Symbol.dispose]();
      expect(tensor.disposed).toBe(true);
    });

    it('has no other use', async () => {
      expectRefusal(() => gone().pointer, disposed('the tensor'));
      expectRefusal(() => gone().dataSync(), disposed('the tensor'));
      expectRefusal(() => gone().dataSync(new Float32Array(6)), disposed('the tensor'));
      await expect(gone().data()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
      for (const call of operations) expectRefusal(() => call(gone()), disposed('x'));
      const x = x32();
      expectRefusal(() => softmax(x, { out: gone() }), disposed('out'));
      const jacobian = cudaDevice().empty([2, 3, 3]);
      jacobian.dispose();
      expectRefusal(() => softmaxJacobian(x, { out: jacobian }), disposed('out'));
      const max = cudaDevice().empty([2]);
      const argmax = cudaDevice().empty([2], { dtype: 'int32' });
      for (const tensor of [max, argmax]) tensor.dispose();
      expectRefusal(() => rowMax(x, { out: { max } }), disposed('out.max'));
      expectRefusal(() => rowMax(x, { out: { argmax } }), disposed('out.argmax'));
      const empty = cudaDevice().empty([0]);
      empty.dispose();
      expectRefusal(() => softmax(empty), disposed('x'));
      expectRefusal(() => empty.dataSync(), disposed('the tensor'));
    });

    it('while the options are read is refused', () => {
      const x = x32();
      const options = {
        get device(): 'cuda' {
          x.dispose();
          return 'cuda';
        },
      };
      expectRefusal(() => softmax(x, options), disposed('x'));
      const out = x32();
      const shape = new Proxy([2, 3], {
        get(target, name): unknown {
          out.dispose();
          return Reflect.get(target, name);
        },
      });
      expectRefusal(() => softmax(x32(), { shape, out }), disposed('out'));
    });
  });

  describe('cannot be imitated', () => {
    it('by a clone or a message', () => {
      const tensor = x32();
      const { port1, port2 } = new MessageChannel();
      const copies = [
        (): unknown => structuredClone(tensor),
        (): unknown => {
          // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port has no origin
          port1.postMessage(tensor);
          return (receiveMessageOnPort(port2) as { message: unknown }).message;
        },
      ];
      for (const copy of copies) {
        let clone: unknown;
        try {
          clone = copy();
        } catch (error) {
          expect(error).toMatchObject({ name: 'DataCloneError' });
          continue;
        }
        expect(clone).not.toBeInstanceOf(DeviceTensor);
        expectRefusal(() => softmax(clone as never), noClone);
      }
      port1.close();
    });

    it('by what a runtime makes of it that cannot forbid a clone', () => {
      const clone = Object.assign({}, x32());
      for (const call of operations) expectRefusal(() => call(clone), noClone);
      expectRefusal(() => cudaDevice().tensor(clone as never), noClone);
    });

    it('by an object around it', () => {
      const tensor = x32();
      const refusal = wrongType(
        /^Expected an array \(a tensor is x itself\) for x\.data but received DeviceTensor \{/,
      );
      for (const wrapped of [
        { data: tensor },
        { data: tensor, shape: [2, 3] },
        { data: tensor, dims: [6] },
      ]) {
        expectRefusal(() => softmax(wrapped as never), refusal);
        expectRefusal(() => cudaDevice().tensor(wrapped as never), refusal);
      }
      const x = { data: Float32Array.from(logits), shape: [2, 3] };
      expectRefusal(
        () => softmax(x, { out: { data: tensor } as never }),
        wrongType(/^Expected an array \(a tensor is out itself\) for out\.data/),
      );
      expectRefusal(
        () => softmax(x, { out: tensor as never }),
        wrongType(/^Expected Float32Array or \{ data \} for out but received DeviceTensor \{/),
      );
      expectRefusal(
        () => cudaDevice().tensor(tensor as never),
        wrongType(/^Expected Float32Array, .* for x but received DeviceTensor \{/),
      );
    });

    it('by an object of its class, its kind or a proxy', () => {
      const tensor = x32();
      const imitations: unknown[] = [
        Object.create(DeviceTensor.prototype),
        Object.create(tensor),
        new Proxy(tensor, {}),
        Object.assign({}, tensor),
      ];
      for (const imitation of imitations) {
        expectRefusal(() => softmax(imitation as never), wrongType(/^Expected .* for x/));
        expectRefusal(
          () => softmax(tensor, { out: imitation as never }),
          wrongType(/^Expected a tensor of float32/),
        );
      }
      const Forged = DeviceTensor as unknown as new (...values: unknown[]) => DeviceTensor;
      const forged = new Forged({}, 0, 'float32', [2]);
      expect(() => softmax(forged)).toThrow(TypeError);
      expect(() => forged.dataSync()).toThrow(TypeError);
      expect(() => forged.dispose()).toThrow(TypeError);
    });
  });

  describe('over a pointer', () => {
    it('reads and writes the memory, and does not free it', () => {
      const owner = x32();
      expect(owner.pointer).toBeTypeOf('bigint');
      const view = DeviceTensor.fromPointer(owner.pointer, { shape: [2, 3] });
      expect([view.dtype, view.shape, view.device, view.pointer]).toEqual([
        'float32',
        [2, 3],
        owner.device,
        owner.pointer,
      ]);
      expect(view.dataSync()).toEqual(Float32Array.from(logits));
      softmax(view, { out: view });
      view.dispose();
      expect(view.disposed).toBe(true);
      expectSameBits(owner.dataSync(), expected, 'the owner');
      const part = DeviceTensor.fromPointer(owner.pointer + 12n, { shape: [3], device: owner.device });
      expectSameBits(part.dataSync(), expected.slice(3), 'a part');
      const doubles = DeviceTensor.fromPointer(x64().pointer, {
        shape: [6],
        dtype: 'float64',
        device: 'cuda',
      });
      expect(doubles.dataSync()).toEqual(Float64Array.from(logits));
    });

    it('may be x as out, from the same address, but not overlap it', () => {
      const memory = keep(cudaDevice().tensor(new Float32Array(20).fill(1)));
      const at = (first: number, shape: number[], dtype: Dtype = 'float32'): DeviceTensor =>
        DeviceTensor.fromPointer(memory.pointer + BigInt(4 * first), { shape, dtype: dtype as 'float32' });
      const x = at(4, [6]);
      softmax(x, { out: at(4, [6]) });
      expect(memory.dataSync()[4]).toBeCloseTo(1 / 6, 6);
      const before = memory.dataSync();
      for (const first of [0, 1, 3, 5, 8, 9]) {
        expectRefusal(() => softmax(x, { out: at(first, [6]) }), overlapping(/for out/));
      }
      expectRefusal(() => rowMax(x, { out: { max: at(9, []) } }), overlapping(/for out.max/));
      expectRefusal(
        () => rowMax(x, { out: { argmax: at(4, [], 'int32') as never } }),
        overlapping(/for out.argmax/),
      );
      const max = at(12, []);
      expectRefusal(
        () => rowMax(x, { out: { max, argmax: at(12, [], 'int32') as never } }),
        overlapping(/for out.argmax/),
      );
      expectRefusal(() => softmaxJacobian(at(0, [2]), { out: at(1, [2, 2]) }), overlapping(/for out/));
      expect(memory.dataSync()).toEqual(before);
      softmax(x, { out: at(10, [6]) });
    });

    it.each<[string, () => unknown, Refusal]>([
      ['a number', () => DeviceTensor.fromPointer(8 as never, { shape: [1] }), wrongType(/^Expected a bigint for pointer/)],
      ['an unknown option', () => DeviceTensor.fromPointer(8n, { shape: [1], type: 'int32' } as never), unknownOption(/'type'/)],
      ['null', () => DeviceTensor.fromPointer(0n, { shape: [1] }), outOfRange(/^Expected the address of 4-byte elements for pointer/)],
      ['a negative address', () => DeviceTensor.fromPointer(-8n, { shape: [1] }), outOfRange(/for pointer/)],
      ['one of more than 64 bits', () => DeviceTensor.fromPointer(2n ** 64n, { shape: [1] }), outOfRange(/for pointer/)],
      ['one between elements', () => DeviceTensor.fromPointer(x64().pointer + 4n, { shape: [1], dtype: 'float64' }), outOfRange(/^Expected the address of 8-byte elements for pointer/)],
      ['no shape', () => DeviceTensor.fromPointer(8n, {} as never), wrongType(/^Expected an array of sizes for shape/)],
      ['no options', () => DeviceTensor.fromPointer(8n, undefined as never), wrongType(/^Expected an array of sizes for shape but received undefined/)],
      ['the CPU', () => DeviceTensor.fromPointer(8n, { shape: [1], device: 'cpu' as never }), outOfRange(/^Expected 'cuda' or 'cuda:N' for device/)],
    ])('is refused for %s', (_name, call, refusal) => {
      expectRefusal(call, refusal);
    }); // prettier-ignore

    it('that is no memory of the GPU is refused by CUDA, and all is well afterwards', () => {
      expect(() => DeviceTensor.fromPointer(4096n, { shape: [4] })).toThrow(CudaError);
      expectSameBits(keep(softmax(x32())).dataSync(), expected, 'afterwards');
    });
  });

  it('is made by functions, not by its constructor', () => {
    const construct = DeviceTensor as unknown as new () => unknown;
    expectRefusal(
      () => new construct(),
      wrongType(
        'Expected memory from cudaDevice().tensor, cudaDevice().empty or DeviceTensor.fromPointer for new DeviceTensor but received undefined',
      ),
    );
  });

  it.skipIf(emulator === undefined)('that nobody can reach is freed', async () => {
    const before = emulator!.live().device;
    (() => {
      for (let i = 0; i < 10; i++) softmax(cudaDevice().tensor(new Float32Array(1000)));
    })();
    expect(emulator!.live().device.count).toBeGreaterThan(before.count);
    await collectGarbage(() => emulator!.live().device.count <= before.count);
    await cudaDevice().synchronize();
    expect(emulator!.live().device).toEqual(before);
  });
});
