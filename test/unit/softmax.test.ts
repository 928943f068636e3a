// softmax as callers use it: forms of input and result, shapes and axes, out.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { native } from '../../lib/binding.ts';
import { softmax } from '../../lib/index.ts';
import { expectSameBits } from '../support/bits.ts';
import { softmaxReference } from '../support/reference.ts';
import { FLOAT64, FORMATS, ulpError, type Format } from '../support/ulp.ts';
import { FORMAT_OF, product, rowsAlong } from './support.ts';

/** Every row's values within 1 ulp of the reference. */
function expectSoftmax(
  actual: ArrayLike<number>,
  x: ArrayLike<number>,
  shape: number[],
  axis: number,
  format: Format,
) {
  expect(actual.length).toBe(x.length);
  for (const row of rowsAlong(shape, axis)) {
    const reference = softmaxReference(row.map((i) => x[i]!));
    const errors = row.map((i, j) => ulpError(actual[i]!, reference[j]!, format));
    expect(Math.max(0, ...errors)).toBeLessThanOrEqual(1);
  }
}

const logits = [1.25, 2.44, 0.78, 0.12, -3, 7];

describe('the result of softmax', () => {
  it.each(FORMATS)('of a $name array without options is one row of the same type', (format) => {
    const x = format.array(6);
    x.set(logits);
    const before = x.slice();
    const y = softmax(x);
    expect(FORMAT_OF[y.constructor.name]).toBe(format);
    expect(y).not.toBe(x);
    expectSoftmax(y, x, [6], 0, format);
    expectSameBits(x, before, 'x is not written');
  });

  it('of number[] is number[], computed in float64', () => {
    const y = softmax(logits);
    expect(Array.isArray(y)).toBe(true);
    expectSoftmax(y, logits, [6], 0, FLOAT64);
  });

  it('of number[] with a shape stays flat', () => {
    const y = softmax(logits, { shape: [2, 3], axis: 0 });
    expect(y).toHaveLength(6);
    expectSoftmax(y, logits, [2, 3], 0, FLOAT64);
  });

  it('of number[][] is number[][]', () => {
    const y = softmax([logits.slice(0, 3), logits.slice(3)]);
    expect(y.map((row) => row.length)).toEqual([3, 3]);
    expectSoftmax(y.flat(), logits, [2, 3], 1, FLOAT64);
    const columns = softmax([logits.slice(0, 3), logits.slice(3)], { axis: 0, shape: [2, 3] });
    expectSoftmax(columns.flat(), logits, [2, 3], 0, FLOAT64);
  });

  it.each(FORMATS)('of { data, shape } and { data, dims } in $name is such an object', (format) => {
    const data = format.array(6);
    data.set(logits);
    const shape = [3, 2];
    const withShape = softmax({ data, shape });
    expect(Object.keys(withShape)).toEqual(['data', 'shape']);
    expect(withShape.shape).toEqual([3, 2]);
    expect(withShape.shape).not.toBe(shape);
    expectSoftmax(withShape.data, data, [3, 2], 1, format);

    const withDims = softmax({ data, dims: [3, 2], type: format.name }, { axis: 0 });
    expect(Object.keys(withDims)).toEqual(['data', 'dims']);
    expect(withDims.dims).toEqual([3, 2]);
    expectSoftmax(withDims.data, data, [3, 2], 0, format);
  });

  it('of an object with a shape accepts the same shape as an option', () => {
    const x = { data: Float32Array.from(logits), shape: [2, 3] };
    expect(softmax(x, { shape: [2, 3] })).toEqual(softmax(x));
  });

  it('of a contiguous ndarray is right, whatever strides its axes of size 1 have', () => {
    const data = Float64Array.from(logits);
    const expected = softmax({ data, shape: [1, 2, 3] }).data;
    expect(softmax({ data, shape: [1, 2, 3], stride: [99, 3, 1], offset: 0 }).data).toEqual(expected);
  });

  it('has the class of its own realm where x is of a subclass', () => {
    class Logits extends Float32Array {}
    expect(Object.getPrototypeOf(softmax(Logits.of(1, 2)))).toBe(Float32Array.prototype);
  });
});

describe('the shape and the axis of softmax', () => {
  const cases = fc
    .array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 5 })
    .chain((shape) =>
      fc.tuple(fc.constant(shape), fc.integer({ min: -shape.length, max: shape.length - 1 })),
    );

  it.each(FORMATS)('may be any of rank 1 to 5, in $name', (format) => {
    fc.assert(
      fc.property(cases, fc.infiniteStream(fc.integer({ min: -80, max: 80 })), ([shape, axis], stream) => {
        const x = format.array(product(shape)).map(() => Number(stream.next().value) / 8);
        const along = axis < 0 ? axis + shape.length : axis;
        expectSoftmax(softmax(x, { shape, axis }), x, shape, along, format);
        expectSoftmax(softmax({ data: x, shape }, { axis }).data, x, shape, along, format);
      }),
      { numRuns: 300 },
    );
  });

  it('count negative axes from the end', () => {
    const x = Float32Array.from({ length: 24 }, (_, i) => (i * 7) % 11);
    for (const axis of [0, 1, 2]) {
      expect(softmax(x, { shape: [2, 3, 4], axis: axis - 3 })).toEqual(
        softmax(x, { shape: [2, 3, 4], axis }),
      );
    }
    expect(softmax(x, { shape: [2, 3, 4] })).toEqual(softmax(x, { shape: [2, 3, 4], axis: 2 }));
    expect(softmax(x, { shape: [2, 3, 4], axis: -0 })).toEqual(softmax(x, { shape: [2, 3, 4], axis: 0 }));
  });

  it.each([[[0]], [[-0]], [[3, 0]], [[0, 3]], [[2, 0, 4]], [[2 ** 52, 2 ** 52, 0]]])(
    'may be empty: %j gives an empty result',
    (shape) => {
      const x = new Float32Array(0);
      expect(softmax(x, { shape })).toEqual(new Float32Array(0));
      expect(softmax(x, { shape, axis: 0 })).toEqual(new Float32Array(0));
      const out = Float32Array.of(7);
      expect(softmax(x, { shape, out })).toBe(out);
      expect(out[0]).toBe(7);
    },
  );

  it('may be empty in every form', () => {
    expect(softmax(new Float64Array(0))).toEqual(new Float64Array(0));
    expect(softmax([])).toEqual([]);
    expect(softmax([[], []])).toEqual([[], []]);
    expect(softmax({ data: new Float32Array(0), dims: [2, -0] })).toEqual({
      data: new Float32Array(0),
      dims: [2, 0],
    });
  });

  it('may have size 1', () => {
    expect(softmax([-1e300])).toEqual([1]);
    expect(softmax(Float32Array.of(5, -9), { shape: [1, 2, 1] })).toEqual(Float32Array.of(1, 1));
    expect(softmax([[3], [4]])).toEqual([[1], [1]]);
  });
});

describe('out of softmax', () => {
  it.each(FORMATS)('is written and returned, and left alone past the end, in $name', (format) => {
    const x = format.array(6);
    x.set(logits);
    const expected = softmax(x, { shape: [2, 3] });
    const out = format.array(9).fill(7);
    expect(softmax(x, { shape: [2, 3], out })).toBe(out);
    expectSameBits(out.subarray(0, 6), expected, 'the result');
    expect([...out.subarray(6)]).toEqual([7, 7, 7]);
  });

  it.each(FORMATS)('may be x itself, or another view of exactly its memory, in $name', (format) => {
    const x = format.array(8);
    x.set(logits, 1);
    const expected = softmax(x.subarray(1, 7), { shape: [3, 2], axis: 0 });
    const inPlace = x.slice().subarray(1, 7);
    expect(softmax(inPlace, { shape: [3, 2], axis: 0, out: inPlace })).toBe(inPlace);
    expectSameBits(inPlace, expected, 'in place');
    // It begins where x does and is longer.
    softmax(x.subarray(1, 7), { shape: [3, 2], axis: 0, out: x.subarray(1) });
    expectSameBits(x.subarray(1, 7), expected, 'another view');
  });

  it('may lie right before or right after x in one buffer', () => {
    const memory = new Float64Array(12);
    memory.set(logits, 3);
    const x = memory.subarray(3, 6);
    const expected = softmax(x);
    expect(softmax(x, { out: memory.subarray(0, 3) })).toEqual(expected);
    expect(softmax(x, { out: memory.subarray(6) }).subarray(0, 3)).toEqual(expected);
  });

  it('is a Float64Array for plain numbers', () => {
    const out = new Float64Array(6);
    expect(softmax(logits, { out })).toBe(out);
    expect([...out]).toEqual(softmax(logits));
    expect(softmax([logits], { out })).toBe(out);
  });

  it('is an array or an object for an object', () => {
    const data = Float32Array.from(logits);
    const expected = softmax(data, { shape: [2, 3] });
    const array = new Float32Array(6);
    expect(softmax({ data, shape: [2, 3] }, { out: array })).toBe(array);
    expect(array).toEqual(expected);

    for (const own of [{}, { shape: [2, 3] }, { dims: [2, 3] }]) {
      const out = { data: new Float32Array(6), ...own };
      expect(softmax({ data, shape: [2, 3] }, { out })).toBe(out);
      expect(out.data).toEqual(expected);
    }
    const self = { data, dims: [2, 3] };
    expect(softmax(self, { out: self })).toBe(self);
    expect(data).toEqual(expected);
  });
});

describe('threads of softmax', () => {
  it('changes no bit', () => {
    native().setWorkPerThread(0);
    const x = Float32Array.from({ length: 200_000 }, (_, i) => Math.sin(i) * 20);
    const one = softmax(x, { shape: [2000, 100], threads: 1 });
    for (const threads of [2, 3, 64, 2 ** 31, Number.MAX_SAFE_INTEGER]) {
      expectSameBits(softmax(x, { shape: [2000, 100], threads }), one, `${threads} threads`);
    }
    expectSameBits(softmax(x, { shape: [2000, 100] }), one, 'the default');
  });
});

describe('options of softmax', () => {
  it('that are undefined count as absent', () => {
    const x = Float32Array.of(1, 2, 3);
    const expected = softmax(x);
    expect(softmax(x, undefined)).toEqual(expected);
    expect(softmax(x, { shape: undefined, axis: undefined, out: undefined, threads: undefined })).toEqual(
      expected,
    );
  });
});
