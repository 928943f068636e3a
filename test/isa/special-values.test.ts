// NaN, infinities, zeros and flushed results: what each kind of row gives, at every length that changes the code
// path.
import { describe, expect, it } from 'vitest';
import { rowMax, softmax, softmaxJacobian } from '../../lib/index.ts';
import { expectSameBits, isCanonicalNaN, setBits, viewAt } from '../support/bits.ts';
import { byName } from '../support/by-name.ts';
import { flushDepth } from '../support/distributions.ts';
import { powerOfTwo } from '../support/double-double.ts';
import { randomFrom } from '../support/random.ts';
import { softmaxReference } from '../support/reference.ts';
import type { FloatArray, Format } from '../support/ulp.ts';
import { FORMATS, ulpError } from '../support/ulp.ts';

const KS = [
  1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 100, 257, 1000, 1023, 1024, 1025, 2049, 5000,
];

/** Every index of short rows; of long ones the ends, the borders of chunks and a few others. */
function positions(k: number): number[] {
  if (k <= 33) return Array.from({ length: k }, (_, j) => j);
  const all = [0, 1, 15, 16, 31, 255, 256, 1022, 1023, 1024, 1025, 2047, 2048, k - 17, k - 2, k - 1];
  return [...new Set(all)].filter((j) => j < k).toSorted((a, b) => a - b);
}

function ordinaryRow(k: number, format: Format): FloatArray {
  const random = randomFrom(k);
  return format.array(k).map(() => 3 * random.gaussian());
}

function expectAllCanonicalNaN(y: FloatArray, context: string): void {
  for (let i = 0; i < y.length; i++) {
    if (!isCanonicalNaN(y, i)) throw new Error(`${context}: [${i}] is ${y[i]}, not the canonical NaN`);
  }
}

/** Quiet and signalling NaNs of both signs with payloads; the last is the x86 default. */
function strangeNaNs(format: Format): bigint[] {
  return format.name === 'float32'
    ? [0x7fc00000n, 0x7fc12345n, 0xffc00001n, 0x7f800001n, 0xff812345n, 0xffffffffn, 0xffc00000n]
    : [
        0x7ff8000000000000n,
        0x7ff8000012345678n,
        0xfff8000000000001n,
        0x7ff0000000000001n,
        0xfff0000012345678n,
        0xffffffffffffffffn,
        0xfff8000000000000n,
      ];
}

describe.each(byName(FORMATS))('softmax in %s', (_format, format) => {
  it('gives canonical NaN for a row with a NaN anywhere, and leaves its neighbours alone', () => {
    for (const k of KS) {
      const row = ordinaryRow(k, format);
      const expected = softmax(row);
      for (const at of positions(k)) {
        const x = format.array(3 * k);
        for (let r = 0; r < 3; r++) x.set(row, r * k);
        x[k + at] = NaN;
        const y = softmax(x, { shape: [3, k] });
        expectAllCanonicalNaN(y.subarray(k, 2 * k), `k = ${k}, NaN at ${at}`);
        expectSameBits(y.subarray(0, k), expected, `row before, k = ${k}, NaN at ${at}`);
        expectSameBits(y.subarray(2 * k), expected, `row after, k = ${k}, NaN at ${at}`);
      }
    }
  });

  it('gives one NaN whatever NaN, infinity or sum of them it meets', () => {
    for (const word of strangeNaNs(format)) {
      for (const k of [1, 3, 16, 33, 1025]) {
        for (const others of [0, -Infinity, Infinity, NaN, 1e30]) {
          const x = format.array(k).fill(others);
          setBits(x, Math.floor(k / 2), word);
          const context = `k = ${k}, 0x${word.toString(16)} among ${others}`;
          expectAllCanonicalNaN(softmax(x), context);
          expectAllCanonicalNaN(softmax(x, { shape: [k, 1], axis: 0 }), context);
          if (k <= 33) expectAllCanonicalNaN(softmaxJacobian(x), `Jacobian, ${context}`);
        }
      }
    }
  });

  it('gives canonical NaN for +Infinity anywhere', () => {
    for (const k of KS) {
      for (const at of positions(k)) {
        const x = ordinaryRow(k, format);
        x[at] = Infinity;
        expectAllCanonicalNaN(softmax(x), `k = ${k}, Infinity at ${at}`);
        x.fill(-Infinity);
        x[at] = Infinity;
        expectAllCanonicalNaN(softmax(x), `k = ${k}, Infinity at ${at} among -Infinity`);
      }
    }
  });

  it('gives canonical NaN for a row of -Infinity only', () => {
    for (const k of KS) expectAllCanonicalNaN(softmax(format.array(k).fill(-Infinity)), `k = ${k}`);
  });

  it('does the same in columns, each by itself', () => {
    for (const k of KS) {
      for (const inner of [1, 2, 7, 16, 33]) {
        const column = ordinaryRow(k, format);
        const expected = softmax(column);
        const x = format.array(k * inner);
        for (let j = 0; j < k; j++) x.fill(column[j]!, j * inner, (j + 1) * inner);
        const at = k >> 1;
        const spoilt = [NaN, Infinity, -Infinity].slice(0, inner - 1);
        for (const [i, value] of spoilt.entries()) {
          if (value === -Infinity) for (let j = 0; j < k; j++) x[j * inner + i] = -Infinity;
          else x[at * inner + i] = value;
        }
        const y = softmax(x, { shape: [k, inner], axis: 0 });
        for (let i = 0; i < inner; i++) {
          const actual = expected.map((_, j) => y[j * inner + i]!);
          for (let j = 0; j < k; j++) {
            if (i < spoilt.length && !isCanonicalNaN(y, j * inner + i)) {
              throw new Error(`k = ${k}, inner ${inner}: column ${i} holds ${y[j * inner + i]}`);
            }
          }
          if (i >= spoilt.length) expectSameBits(actual, expected, `k = ${k}, inner ${inner}, column ${i}`);
        }
      }
    }
  });

  it('gives +0 for -Infinity beside finite logits, and the others as if it were not there', () => {
    for (const k of KS.filter((size) => size > 1)) {
      const x = format.array(k).fill(-Infinity);
      const at = k >> 1;
      x[at] = -1234.5;
      const oneHot = format.array(k);
      oneHot[at] = 1;
      expectSameBits(softmax(x), oneHot, `one finite, k = ${k}`);

      x[0] = x[at]!;
      const halves = format.array(k);
      halves[0] = halves[at] = 0.5;
      expectSameBits(softmax(x), halves, `two finite, k = ${k}`);
    }
  });

  it('gives exactly 1 / k for k equal logits when k is a power of two', () => {
    for (let k = 1; k <= 65_536; k *= 2) {
      for (const value of [0, -0, 1, -3.7, 88, 1e4, -65_536, 70_001, 1e30, -1e30]) {
        const x = format.array(k).fill(value);
        const expected = format.array(k).fill(1 / k);
        expectSameBits(softmax(x), expected, `k = ${k}, logits ${value}`);
      }
    }
  });

  it('gives 1 for a row of one logit', () => {
    const largest = format.name === 'float32' ? 3.4028234663852886e38 : Number.MAX_VALUE;
    for (const value of [0, -0, 1, 65_535.99, 65_536, -65_536, 1e30, -1e30, largest, -largest, 5e-324]) {
      const x = format.array(3).fill(value);
      expectSameBits(softmax(x, { shape: [3, 1] }), format.array(3).fill(1), `${value}`);
      expectSameBits(softmax(x, { shape: [1, 3], axis: 0 }), format.array(3).fill(1), `${value}, axis 0`);
    }
  });

  it('gives an empty result for an empty row and writes nothing', () => {
    const cases = [
      { shape: [0], axis: 0 },
      { shape: [3, 0], axis: 1 },
      { shape: [0, 3], axis: 1 },
      { shape: [0, 3], axis: 0 },
      { shape: [2, 0, 3], axis: 1 },
      { shape: [2, 0, 3], axis: 2 },
    ];
    for (const { shape, axis } of cases) {
      expect(softmax(format.array(0), { shape, axis })).toHaveLength(0);
      const out = format.array(4).fill(7);
      expect(softmax(format.array(0), { shape, axis, out })).toBe(out);
      expectSameBits(out, format.array(4).fill(7), `[${shape.join(', ')}]`);
    }
  });

  it('flushes to +0 exactly below the smallest normal number', () => {
    const depth = flushDepth(format);
    const x = format.array(2);
    let [kept, flushed] = [0, 0];
    // Through the limit in steps of a few ulp of the logit.
    const step = powerOfTwo(Math.floor(Math.log2(depth)) - format.digits + 2);
    for (let i = -300; i <= 300; i++) {
      x[1] = -depth + i * step;
      const y = softmax(x)[1]!;
      expect(ulpError(y, softmaxReference(x)[1]!, format)).toBeLessThanOrEqual(1);
      if (y === 0) {
        expect(Object.is(y, 0)).toBe(true);
        flushed++;
      } else {
        expect(y).toBeGreaterThanOrEqual(powerOfTwo(format.minExponent));
        kept++;
      }
    }
    expect(Math.min(kept, flushed)).toBeGreaterThan(200);
  });

  it('never writes a subnormal number', () => {
    const random = randomFrom(40);
    const smallest = powerOfTwo(format.minExponent);
    for (const k of [2, 17, 1000, 3000]) {
      const x = format.array(k).map(() => -1.3 * flushDepth(format) * random.uniform());
      const y = softmax(x);
      const jacobian = k <= 1000 ? softmaxJacobian(x) : y;
      for (const values of [y, jacobian]) {
        expect(values.every((value) => Object.is(value, 0) || Math.abs(value) >= smallest)).toBe(true);
        expect(values.some((value) => Math.abs(value) > smallest)).toBe(true);
      }
    }
  });

  it('touches nothing beside the elements of its result', () => {
    for (const k of [1, 3, 7, 17, 33, 100, 1025]) {
      for (const [shape, axis] of [
        [[3, k], 1],
        [[k, 3], 0],
      ] as const) {
        const memory = viewAt(format, 5, 3 * k + 40, false).fill(42);
        const y = memory.subarray(20, 20 + 3 * k);
        const x = ordinaryRow(3 * k, format);
        softmax(x, { shape, axis, out: y });
        expect(memory.subarray(0, 20).every((value) => value === 42)).toBe(true);
        expect(memory.subarray(20 + 3 * k).every((value) => value === 42)).toBe(true);
        expect(y.every((value) => value !== 42)).toBe(true);
      }
    }
  });
});

describe.each(byName(FORMATS))('the Jacobian in %s', (_format, format) => {
  it('is canonical NaN in the whole block of a row that softmax has no answer for', () => {
    for (const k of [1, 2, 3, 9, 17, 33, 100]) {
      for (const bad of [NaN, Infinity, -Infinity]) {
        const x = ordinaryRow(3 * k, format);
        if (bad === -Infinity) x.fill(bad, k, 2 * k);
        else x[k + (k >> 1)] = bad;
        const jacobian = softmaxJacobian(x, { shape: [3, k] });
        expectAllCanonicalNaN(jacobian.subarray(k * k, 2 * k * k), `k = ${k}, ${bad}`);
        for (const row of [0, 2]) {
          const block = jacobian.slice(row * k * k, (row + 1) * k * k);
          expectSameBits(block, softmaxJacobian(x.slice(row * k, (row + 1) * k)), `k = ${k}, row ${row}`);
          expect(block.some((value) => value !== 0) || k === 1).toBe(true);
        }
      }
    }
  });

  it('is +0 where a probability is 0, never -0', () => {
    for (const k of [1, 2, 3, 9, 17, 33, 100]) {
      const x = format.array(k).fill(-Infinity);
      x[k >> 1] = 3;
      expectSameBits(softmaxJacobian(x), format.array(k * k), `one hot, k = ${k}`);
      const deep = format.array(k).fill(-1e5);
      deep[k >> 1] = 3;
      expectSameBits(softmaxJacobian(deep), format.array(k * k), `far below, k = ${k}`);
    }
  });

  it('is 1/4 and -1/4 for two equal logits', () => {
    for (const value of [0, 1e4, 1e6, -1e30]) {
      const x = format.array(2).fill(value);
      const expected = format.array(4);
      expected.set([0.25, -0.25, -0.25, 0.25]);
      expectSameBits(softmaxJacobian(x), expected, `logits ${value}`);
    }
  });

  it('of empty rows is empty', () => {
    for (const shape of [[0], [3, 0], [0, 3], [2, 0, 3]]) {
      expect(softmaxJacobian(format.array(0), { shape })).toHaveLength(0);
    }
  });
});

describe.each(byName(FORMATS))('rowMax in %s', (_format, format) => {
  function expectRow(x: FloatArray, max: number, argmax: number, context: string): void {
    const k = x.length;
    const results = [
      rowMax(x),
      rowMax(x, { shape: [k, 1], axis: 0 }),
      rowMax(spread(x), { shape: [k, 3], axis: 0 }),
    ];
    for (const [i, result] of results.entries()) {
      const at = i === 2 ? 1 : 0;
      expect(result.argmax[at], context).toBe(argmax);
      if (Number.isNaN(max)) expect(isCanonicalNaN(result.max, at), context).toBe(true);
      else expect(Object.is(result.max[at], max), `${context}: ${result.max[at]}`).toBe(true);
    }
  }
  /** The row as the middle one of three columns. */
  function spread(x: FloatArray): FloatArray {
    const block = format.array(3 * x.length);
    for (let j = 0; j < x.length; j++) block.set([NaN, x[j]!, Infinity], 3 * j);
    return block;
  }

  it('finds the maximum at every position', () => {
    for (const k of KS) {
      for (const at of positions(k)) {
        const x = ordinaryRow(k, format);
        x[at] = 100;
        expectRow(x, 100, at, `k = ${k}, 100 at ${at}`);
        x[at] = Infinity;
        expectRow(x, Infinity, at, `k = ${k}, Infinity at ${at}`);
        x.fill(-Infinity);
        x[at] = format.name === 'float32' ? -3.4028234663852886e38 : -Number.MAX_VALUE;
        expectRow(x, x[at], at, `k = ${k}, lowest finite number at ${at}`);
      }
    }
  });

  it("takes the first index among equals, and that element's sign among zeros", () => {
    for (const k of KS.filter((size) => size > 1)) {
      const x = format.array(k).fill(-5);
      const places = positions(k);
      for (const [i, first] of places.entries()) {
        for (const second of places.slice(i + 1)) {
          for (const value of [7, Infinity, -0, 0]) {
            x.fill(-5);
            x[first] = value;
            x[second] = value === 0 ? -value : value;
            expectRow(x, value, first, `k = ${k}, ${value} at ${first} and ${second}`);
          }
        }
      }
      expectRow(x.fill(2), 2, 0, `all 2, k = ${k}`);
      expectRow(x.fill(-Infinity), -Infinity, 0, `all -Infinity, k = ${k}`);
    }
  });

  it('takes the first NaN before any number', () => {
    for (const k of KS) {
      const places = positions(k);
      for (const [i, first] of places.entries()) {
        const x = ordinaryRow(k, format);
        x[0] = Infinity;
        x[k - 1] = Infinity;
        setBits(x, first, strangeNaNs(format)[i % 7]!);
        for (const later of places.slice(i + 1, i + 4)) x[later] = NaN;
        expectRow(x, NaN, first, `k = ${k}, NaN at ${first}`);
      }
    }
  });

  it('of an empty row is -Infinity, at -1', () => {
    const { max, argmax } = rowMax(format.array(0), { shape: [3, 0] });
    expectSameBits(max, format.array(3).fill(-Infinity), 'max');
    expect(argmax).toEqual(Int32Array.of(-1, -1, -1));
    const columns = rowMax(format.array(0), { shape: [2, 0, 2], axis: 1 });
    expectSameBits(columns.max, format.array(4).fill(-Infinity), 'max of columns');
    expect(columns.argmax).toEqual(Int32Array.of(-1, -1, -1, -1));
    expect(rowMax(format.array(0), { shape: [0, 3] }).max).toHaveLength(0);
  });
});
