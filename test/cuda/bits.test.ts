// The GPU gives the bits of the CPU: every operation, element type and axis, rows of every length at which the kernel
// changes, from arrays of the host and from tensors, in place and at every alignment.
import { readdirSync, readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeviceTensor, rowMax, softmax, softmaxJacobian } from '../../lib/index.ts';
import { expectSameBits, transposed } from '../support/bits.ts';
import { byName } from '../support/by-name.ts';
import { flushDepth } from '../support/distributions.ts';
import { randomFrom } from '../support/random.ts';
import { FORMATS, type FloatArray } from '../support/ulp.ts';
import {
  device,
  emulator,
  expectSameIndices,
  expectSameJacobian,
  expectSameRowMax,
  expectSameSoftmax,
  manyRows,
  mixedRows,
  noGpu,
  using,
} from './support.ts';

const EVERY_SHORT_K = Array.from({ length: 70 }, (_, i) => i + 1);
const POWERS = [128, 256, 512, 1024, 2048, 4096].flatMap((k) => [k - 1, k, k + 1]);
const LONGER = [5000, 8191, 8192, 8193, 16_383, 16_384, 16_385];
/** The last two are too long for the shared memory of the largest cluster. */
const LONG: Record<string, number[]> = {
  float32: [40_000, 70_001, 131_073, 300_001, 900_001, 900_004],
  float64: [40_000, 70_001, 131_073, 300_001, 450_001, 450_002],
};

describe.skipIf(noGpu).each(byName(FORMATS))('in %s', (_format, format) => {
  describe('softmax and rowMax of rows', () => {
    it.each([
      ['1 to 70 columns', EVERY_SHORT_K, 37],
      ['127 to 4097 columns', POWERS, 5],
      ['5000 to 16,385 columns', LONGER, 2],
    ])('of %s', (_name, lengths, rows) => {
      const random = randomFrom(60);
      for (const k of lengths) {
        const x = mixedRows(rows, k, random, format);
        expectSameSoftmax(x, { shape: [rows, k] });
        expectSameRowMax(x, { shape: [rows, k] });
      }
    });

    it.each(LONG[format.name]!)('of %i columns, few of which fill the GPU only together', (k) => {
      const random = randomFrom(k);
      const rows = k < 100_000 ? 2 : 1;
      const x = mixedRows(rows, k, random, format);
      expectSameSoftmax(x, { shape: [rows, k] }, ['tensor']);
      expectSameRowMax(x, { shape: [rows, k] }, ['tensor']);
    });

    // So many that a row is not shared out over the GPU.
    it.each([
      [3000, 1],
      [2500, 3],
      [1200, 10],
      [600, 32],
      [600, 33],
      [150, 257],
      [40, 1100],
      [14, 16_385],
      [12, 40_000],
    ])('%i of %i columns', (rows, k) => {
      const x = manyRows(rows, k, randomFrom(rows), format);
      expectSameSoftmax(x, { shape: [rows, k] }, ['tensor']);
      expectSameRowMax(x, { shape: [rows, k] }, ['tensor']);
    });

    it('along the first axis and along a middle one', () => {
      const random = randomFrom(61);
      const inners = [2, 3, 8, 15, 33, 100];
      const cases = [
        ...EVERY_SHORT_K.map((k, i) => [k, inners[i % inners.length]!] as const),
        ...[127, 256, 257, 1000, 1024, 1025, 2049].map((k, i) => [k, inners[i % 5]!] as const),
        [5000, 3],
        [40_000, 2],
        [3, 3000],
        [1030, 70],
      ] as const;
      for (const [k, inner] of cases) {
        const rows = mixedRows(inner, k, random, format);
        const block = transposed(rows, inner, k, format);
        expectSameSoftmax(block, { shape: [k, inner], axis: 0 });
        expectSameRowMax(block, { shape: [k, inner], axis: 0 });
        if (k > 2049 || inner > 100) continue;
        const twice = format.array(2 * block.length);
        twice.set(block);
        twice.set(block.toReversed(), block.length);
        expectSameSoftmax(twice, { shape: [2, k, inner], axis: 1 }, ['tensor']);
        expectSameRowMax(twice, { shape: [2, k, inner], axis: -2 }, ['tensor']);
      }
    });
  });

  it('softmaxJacobian', () => {
    const random = randomFrom(62);
    const lengths = [...EVERY_SHORT_K.slice(0, 40), 63, 64, 65, 100, 127, 129, 257];
    for (const k of lengths) {
      const rows = k <= 40 ? 5 : 2;
      expectSameJacobian(mixedRows(rows, k, random, format), [rows, k]);
    }
    expectSameJacobian(mixedRows(1, 700, random, format), [700], ['tensor']);
    expectSameJacobian(mixedRows(6, 9, random, format), [2, 3, 9]);
    expectSameJacobian(manyRows(700, 10, random, format), [700, 10], ['tensor']);
  });

  it('of views that begin anywhere in their memory', () => {
    const random = randomFrom(63);
    for (const k of [1, 3, 4, 15, 33, 100, 257, 600, 1025, 2050, 9000]) {
      const rows = k < 2000 ? 3 : 1;
      const whole = mixedRows(1, rows * k + 4, random, format);
      const memory = device().tensor(whole);
      const results = device().empty([rows * k + 4], { dtype: format.name });
      for (const [from, to] of [
        [1, 0],
        [2, 1],
        [3, 3],
        [0, 2],
      ] as const) {
        // prettier-ignore
        const shape = [rows, k];
        const context = `k = ${k}, from element ${from} to element ${to}`;
        const x = whole.subarray(from, from + rows * k);
        const expected = softmax(x, { shape, device: 'cpu' });
        const out = format.array(rows * k + 4).subarray(to, to + rows * k);
        expectSameBits(softmax(x, { shape, out, device: 'cuda' }), expected, `${context}, host array`);

        const [tensor, result] = [viewOf(memory, from, shape), viewOf(results, to, shape)];
        expect(softmax(tensor, { out: result })).toBe(result);
        expectSameBits(result.dataSync(), expected, context);
        const { max, argmax } = rowMax(tensor);
        const maxima = rowMax(x, { shape, device: 'cpu' });
        using([max, argmax], () => {
          expectSameBits(max.dataSync(), maxima.max, context);
          expectSameIndices(argmax.dataSync(), maxima.argmax, context);
        });
        if (k > 100) continue;
        const jacobian = softmaxJacobian(tensor);
        using([jacobian], () => {
          const entries = softmaxJacobian(x, { shape, device: 'cpu' });
          expectSameBits(jacobian.dataSync(), entries, `${context}, Jacobian`);
        });
        const misplaced = device().empty([rows * k * k + 1], { dtype: format.name });
        using([misplaced], () => {
          const shifted = viewOf(misplaced, 1, [rows, k, k]);
          softmaxJacobian(tensor, { out: shifted });
          expectSameBits(shifted.dataSync(), softmaxJacobian(x, { shape, device: 'cpu' }), context);
        });
      }
      memory.dispose();
      results.dispose();
    }
  });

  it('in place in an array of the host', () => {
    const random = randomFrom(64);
    for (const k of [1, 10, 33, 300, 1025, 5000]) {
      const x = mixedRows(3, k, random, format);
      const expected = softmax(x, { shape: [3, k], device: 'cpu' });
      expect(softmax(x, { shape: [3, k], out: x, device: 'cuda' })).toBe(x);
      expectSameBits(x, expected, `k = ${k}`);
    }
  });

  it('of special values at the ends and in the middle of a row', () => {
    const least = format.name === 'float32' ? 2 ** -149 : 5e-324;
    for (const k of [1, 2, 3, 8, 33, 65, 300, 1025, 2049, 9000]) {
      const rows: FloatArray[] = [];
      for (const value of [NaN, Infinity, -Infinity, 65_536, -65_536, 70_001, 1e30, -1e30, least, -0]) {
        for (const at of new Set([0, k >> 1, k - 1])) {
          const row = format.array(k).map((_, j) => ((j * 7919) % 13) - 6);
          row[at] = value;
          rows.push(row);
        }
      }
      rows.push(format.array(k).fill(-Infinity), format.array(k).fill(NaN), format.array(k).fill(-70_000));
      const depth = flushDepth(format);
      // Probabilities on both sides of the smallest normal number.
      rows.push(format.array(k).map((_, j) => (j === 0 ? 0 : -depth + (j % 9) / 4 - 1)));
      const x = format.array(rows.length * k);
      for (const [i, row] of rows.entries()) x.set(row, i * k);
      expectSameSoftmax(x, { shape: [rows.length, k] }, ['tensor']);
      expectSameRowMax(x, { shape: [rows.length, k] }, ['tensor']);
      if (k <= 65) expectSameJacobian(x, [rows.length, k], ['tensor']);
      if (k > 1025) continue;
      const columns = transposed(x, rows.length, k, format);
      expectSameSoftmax(columns, { shape: [k, rows.length], axis: 0 }, ['tensor']);
      expectSameRowMax(columns, { shape: [k, rows.length], axis: 0 }, ['tensor']);
    }
  });

  it('of Jacobians of rows that no tile holds', () => {
    for (const k of [270, 1100]) {
      const x = mixedRows(3, k, randomFrom(k), format);
      expectSameJacobian(x, [3, k], ['tensor']);
    }
  });

  it('of nothing', () => {
    for (const shape of [[0], [3, 0], [0, 3], [2, 0, 3], [2, 3, 0]]) {
      for (let axis = 0; axis < shape.length; axis++) {
        expectSameSoftmax(format.array(0), { shape, axis });
        expectSameRowMax(format.array(0), { shape, axis });
      }
      expectSameJacobian(format.array(0), shape);
    }
  });

  it('of any shape along any axis', () => {
    const logit = fc.oneof(
      { weight: 20, arbitrary: fc.integer({ min: -(2 ** 20), max: 2 ** 20 }).map((i) => i / 2 ** 14) },
      { weight: 1, arbitrary: fc.constantFrom(NaN, Infinity, -Infinity, 1e30, -0, 65_537) },
    );
    const shaped = fc
      .array(fc.oneof(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 1, max: 70 })), {
        minLength: 1,
        maxLength: 4,
      })
      .filter((shape) => shape.reduce((product, size) => product * size, 1) <= 5000)
      .chain((shape) =>
        fc.tuple(
          fc.constant(shape),
          fc.integer({ min: 0, max: shape.length - 1 }),
          fc.infiniteStream(logit),
          fc.constantFrom('host', 'tensor'),
        ),
      );
    fc.assert(
      fc.property(shaped, ([shape, axis, logits, way]) => {
        const length = shape.reduce((product, size) => product * size, 1);
        const x = format.array(length).map(() => logits.next().value!);
        expectSameSoftmax(x, { shape, axis }, [way]);
        expectSameRowMax(x, { shape, axis }, [way]);
        if (length * shape.at(-1)! <= 5000) expectSameJacobian(x, shape, [way]);
      }),
      { numRuns: 60 },
    );
  });
});

/** A part of a tensor's memory: what fromPointer makes of an address inside it. */
function viewOf(
  tensor: DeviceTensor<'float32' | 'float64'>,
  first: number,
  shape: number[],
): DeviceTensor<'float32' | 'float64'> {
  const size = tensor.dtype === 'float32' ? 4 : 8;
  const pointer = tensor.pointer + BigInt(first * size);
  return DeviceTensor.fromPointer(pointer, { shape, dtype: tensor.dtype });
}

it.skipIf(emulator === undefined)('and every kernel of native/cuda was launched, for both types', () => {
  const folder = new URL('../../native/cuda/', import.meta.url);
  const kernels = readdirSync(folder)
    .filter((file) => file.endsWith('.cu'))
    .flatMap((file) => [
      ...readFileSync(new URL(file, folder), 'utf8').matchAll(/__global__[^;{]*?(\w+)\(const T\*/g),
    ])
    .map(([, name]) => String(name));
  expect(kernels.length).toBeGreaterThan(10);
  const launched = Object.keys(emulator!.launches()).map((name) => /(\w+<\w+)/.exec(name)?.[1]);
  const expected = kernels.flatMap((name) => [`${name}<float`, `${name}<double`]);
  const missing = expected.filter((name) => !launched.includes(name));
  // Clusters hold longer columns than those that are split, and GPUs with asynchronous copies have other plans for all
  // these rows of float32 than to read them twice or hold their logits alone.
  const emulated = process.env['SOFTMAX_EMULATED_DEVICE'] ?? '';
  const elsewhere = ['sm_90', 'sm_120'].includes(emulated)
    ? /^(column_(sums|probabilities)|stream_softmax<float)/
    : emulated === 'sm_80'
      ? /^stream_softmax<float/
      : /^$/;
  expect(missing.filter((name) => !elsewhere.test(name))).toEqual([]);
});
