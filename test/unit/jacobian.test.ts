// softmaxJacobian as callers use it: forms of input and result, batches, out.
import { describe, expect, it } from 'vitest';
import { native } from '../../lib/binding.ts';
import { softmaxJacobian } from '../../lib/index.ts';
import { expectSameBits } from '../support/bits.ts';
import { jacobianReference } from '../support/reference.ts';
import { FLOAT64, FORMATS, ulpError, type Format } from '../support/ulp.ts';
import { FORMAT_OF, product } from './support.ts';

const logits = [1.25, 2.44, 0.78, 0.12, -3, 7];

/** Every entry within 4 ulp of the reference, and of the right sign. */
function expectJacobians(actual: ArrayLike<number>, x: ArrayLike<number>, k: number, format: Format): void {
  expect(actual.length).toBe(x.length * k);
  for (let row = 0; row * k < x.length; row++) {
    const entry = jacobianReference(Array.from({ length: k }, (_, j) => x[row * k + j]!));
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) {
        const value = actual[(row * k + i) * k + j]!;
        expect(ulpError(i === j ? value : -value, entry(i, j), format)).toBeLessThanOrEqual(4);
      }
    }
  }
}

describe('the result of softmaxJacobian', () => {
  it.each(FORMATS)('of a $name array is one of k * k entries for every row', (format) => {
    const x = format.array(6);
    x.set(logits);
    const before = x.slice();
    for (const shape of [undefined, [6], [1, 6], [2, 3], [3, 2], [6, 1], [1, 2, 1, 3]]) {
      const jacobian = softmaxJacobian(x, { shape });
      expect(FORMAT_OF[jacobian.constructor.name]).toBe(format);
      expectJacobians(jacobian, x, shape?.at(-1) ?? 6, format);
    }
    expectSameBits(x, before, 'x is not written');
  });

  it('of number[] is a matrix', () => {
    const jacobian = softmaxJacobian(logits);
    expect(jacobian.map((row) => row.length)).toEqual([6, 6, 6, 6, 6, 6]);
    expectJacobians(jacobian.flat(), logits, 6, FLOAT64);
  });

  it('of number[] with a shape has the rows of all matrices', () => {
    const jacobian = softmaxJacobian(logits, { shape: [2, 3] });
    expect(jacobian.map((row) => row.length)).toEqual([3, 3, 3, 3, 3, 3]);
    expectJacobians(jacobian.flat(), logits, 3, FLOAT64);
  });

  it('of number[][] is a matrix for every row', () => {
    const jacobians = softmaxJacobian([logits.slice(0, 3), logits.slice(3)]);
    expect(jacobians.map((matrix) => matrix.map((row) => row.length))).toEqual([
      [3, 3, 3],
      [3, 3, 3],
    ]);
    expectJacobians(jacobians.flat(2), logits, 3, FLOAT64);
  });

  it('of an object appends the size of the last axis to its shape', () => {
    const data = Float32Array.from(logits);
    const { data: entries, shape } = softmaxJacobian({ data, shape: [1, 2, 3] });
    expect(shape).toEqual([1, 2, 3, 3]);
    expectSameBits(entries, softmaxJacobian(data, { shape: [2, 3] }), 'entries');
    expect(softmaxJacobian({ data, dims: [6] }).dims).toEqual([6, 6]);
  });

  it('may be empty', () => {
    expect(softmaxJacobian(new Float32Array(0))).toEqual(new Float32Array(0));
    expect(softmaxJacobian(new Float32Array(0), { shape: [2 ** 40, 0] })).toEqual(new Float32Array(0));
    expect(softmaxJacobian(new Float32Array(0), { shape: [0, 2 ** 40] })).toEqual(new Float32Array(0));
    expect(softmaxJacobian([])).toEqual([]);
    expect(softmaxJacobian([[], []])).toEqual([[], []]);
    expect(softmaxJacobian({ data: new Float64Array(0), dims: [0, 2] }).dims).toEqual([0, 2, 2]);
  });

  it('takes the last axis, and refuses another', () => {
    const x = Float32Array.of(1, 2, 3, 4);
    const expected = softmaxJacobian(x, { shape: [2, 2] });
    for (const axis of [-1, 1]) {
      expect(softmaxJacobian(x, { shape: [2, 2], axis } as object)).toEqual(expected);
    }
    for (const axis of [-2, 0]) {
      expect(() => softmaxJacobian(x, { shape: [2, 2], axis } as object)).toThrow(
        `Expected the last axis, -1, for axis but received ${axis}`,
      );
    }
  });

  it('is 0 for rows of one element', () => {
    expect(softmaxJacobian(Float32Array.of(3, -4), { shape: [2, 1] })).toEqual(new Float32Array(2));
    expect(softmaxJacobian([[3], [4]])).toEqual([[[0]], [[0]]]);
  });

  it('has the same bits for every number of threads, on small arrays too', () => {
    native().setWorkPerThread(0);
    const x = Float64Array.from({ length: 300 }, (_, i) => Math.sin(i) * 9);
    for (const shape of [[300], [30, 10], [150, 2]]) {
      const one = softmaxJacobian(x, { shape, threads: 1 });
      for (const threads of [2, 3, 64]) {
        expectSameBits(softmaxJacobian(x, { shape, threads }), one, `${shape.join()} by ${threads}`);
      }
    }
  });
});

describe('out of softmaxJacobian', () => {
  it.each(FORMATS)('is written and returned, and left alone past the end, in $name', (format) => {
    const x = format.array(6);
    x.set(logits);
    const expected = softmaxJacobian(x, { shape: [2, 3] });
    const out = format.array(20).fill(7);
    expect(softmaxJacobian(x, { shape: [2, 3], out })).toBe(out);
    expectSameBits(out.subarray(0, 18), expected, 'the result');
    expect([...out.subarray(18)]).toEqual([7, 7]);
  });

  it('is a Float64Array for plain numbers', () => {
    const out = new Float64Array(18);
    expect(softmaxJacobian([logits.slice(0, 3), logits.slice(3)], { out })).toBe(out);
    expectJacobians(out, logits, 3, FLOAT64);
  });

  it('may be an object for an object, with the shape of the result or none', () => {
    const x = { data: Float64Array.from(logits), shape: [2, 3] };
    const expected = softmaxJacobian(x).data;
    for (const own of [{}, { shape: [2, 3, 3] }, { dims: [2, 3, 3] }]) {
      const out = { data: new Float64Array(product([2, 3, 3])), ...own };
      expect(softmaxJacobian(x, { out })).toBe(out);
      expect(out.data).toEqual(expected);
    }
  });
});
