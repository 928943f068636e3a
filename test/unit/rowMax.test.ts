// rowMax as callers use it: values and indices along any axis, special values, out.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rowMax } from '../../lib/index.ts';
import { FORMATS } from '../support/ulp.ts';
import { FORMAT_OF, product, rowsAlong } from './support.ts';

/** The first largest element, NaN before all others. */
function reference(row: readonly number[]): { max: number; argmax: number } {
  const nan = row.findIndex((value) => Number.isNaN(value));
  if (nan >= 0) return { max: NaN, argmax: nan };
  const max = Math.max(...row);
  return { max, argmax: row.indexOf(max) };
}

describe('rowMax', () => {
  const values = fc.constantFrom(-Infinity, -2.5, -1, -0, 0, 0.5, 1, 3, 1e30, Infinity, NaN);
  const cases = fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 5 }).chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      axis: fc.integer({ min: -shape.length, max: shape.length - 1 }),
      elements: fc.array(values, { minLength: product(shape), maxLength: product(shape) }),
      keepdims: fc.boolean(),
    }),
  );

  it.each(FORMATS)('finds every row along any axis of any rank, in $name', (format) => {
    fc.assert(
      fc.property(cases, ({ shape, axis, elements, keepdims }) => {
        const x = format.array(elements.length);
        x.set(elements);
        const along = axis < 0 ? axis + shape.length : axis;
        const result = rowMax(x, { shape, axis, keepdims });

        expect(result.shape).toEqual(keepdims ? shape.with(along, 1) : shape.toSpliced(along, 1));
        expect(FORMAT_OF[result.max.constructor.name]).toBe(format);
        expect(result.argmax).toBeInstanceOf(Int32Array);
        expect(result.max).toHaveLength(product(result.shape));
        expect(result.argmax).toHaveLength(product(result.shape));
        // Rows of no elements are not found by walking over elements; the test below has them.
        const rows = rowsAlong(shape, along).map((row) => reference(row.map((i) => x[i]!)));
        for (const [row, { max, argmax }] of rows.entries()) {
          // 0 and -0 are equal, and either may be given.
          expect(Math.abs(result.max[row]!)).toBe(Math.abs(max));
          expect(Math.sign(result.max[row]!) + 0).toBe(Math.sign(max) + 0);
          expect(result.argmax[row]).toBe(argmax);
        }
      }),
      { numRuns: 300 },
    );
  });

  it.each(FORMATS)('finds a NaN or a maximum at every place of a row, in $name', (format) => {
    for (const k of [1, 2, 7, 8, 15, 16, 17, 33, 100]) {
      for (let at = 0; at < k; at++) {
        const x = format.array(k).fill(-Infinity);
        x[at] = -1e30;
        expect(rowMax(x)).toEqual({ max: x.slice(at, at + 1), argmax: Int32Array.of(at), shape: [] });
        x[k - 1] = Infinity;
        x[at] = NaN;
        expect(rowMax(x)).toEqual({ max: x.slice(at, at + 1), argmax: Int32Array.of(at), shape: [] });
      }
    }
  });

  it('gives -Infinity and -1 for rows without elements', () => {
    const none = { max: new Float32Array(6).fill(-Infinity), argmax: new Int32Array(6).fill(-1) };
    const x = new Float32Array(0);
    expect(rowMax(x, { shape: [2, 3, 0] })).toEqual({ ...none, shape: [2, 3] });
    expect(rowMax(x, { shape: [2, 0, 3], axis: 1, keepdims: true })).toEqual({ ...none, shape: [2, 1, 3] });
    expect(rowMax(x)).toEqual({ max: Float32Array.of(-Infinity), argmax: Int32Array.of(-1), shape: [] });
    expect(rowMax([[], []])).toEqual({
      max: Float64Array.of(-Infinity, -Infinity),
      argmax: Int32Array.of(-1, -1),
      shape: [2],
    });
  });

  it('gives empty results where there are no rows', () => {
    expect(rowMax(new Float64Array(0), { shape: [-0, 4] })).toEqual({
      max: new Float64Array(0),
      argmax: new Int32Array(0),
      shape: [0],
    });
  });

  it('gives Float64Array for plain numbers, and no other form for objects', () => {
    const expected = { max: Float64Array.of(5, 7), argmax: Int32Array.of(1, 0), shape: [2] };
    expect(rowMax([1, 5, 2, 7, 3, 7], { shape: [2, 3] })).toEqual(expected);
    expect(
      rowMax([
        [1, 5, 2],
        [7, 3, 7],
      ]),
    ).toEqual(expected);
    expect(rowMax({ data: Float32Array.of(1, 5, 2, 7, 3, 7), dims: [2, 3] })).toEqual({
      ...expected,
      max: Float32Array.of(5, 7),
    });
  });

  it('writes what out has, and leaves the rest of it alone', () => {
    const x = Float32Array.of(1, 5, 2, 7, 3, 7);
    const max = new Float32Array(4).fill(9);
    const argmax = new Int32Array(3).fill(9);
    const both = rowMax(x, { shape: [2, 3], out: { max, argmax } });
    expect(both.max).toBe(max);
    expect(both.argmax).toBe(argmax);
    expect([...max]).toEqual([5, 7, 9, 9]);
    expect([...argmax]).toEqual([1, 0, 9]);

    const one = rowMax(x, { shape: [2, 3], out: { max } });
    expect(one.max).toBe(max);
    expect(one.argmax).toEqual(Int32Array.of(1, 0));
    const other = rowMax(x, { shape: [2, 3], out: { argmax, max: undefined } });
    expect(other.argmax).toBe(argmax);
    expect(other.max).toEqual(Float32Array.of(5, 7));
    expect(rowMax(x, { out: {} }).max).toEqual(Float32Array.of(7));
  });
});
