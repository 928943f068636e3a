// A row gives the same bits wherever and however it is computed: among any others, at any position and alignment,
// in place, along any axis, on any number of threads. (Equal golden hashes, in golden.test.ts, say the same of
// instruction sets.)
import { afterEach, describe, expect, it } from 'vitest';
import { native } from '../../lib/binding.ts';
import { rowMax, softmax, softmaxJacobian } from '../../lib/index.ts';
import { expectSameBits, transposed, viewAt } from '../support/bits.ts';
import { byName } from '../support/by-name.ts';
import { gaussian, SHAPES_OF_ROWS } from '../support/distributions.ts';
import { makeRows } from '../support/measure.ts';
import type { Random } from '../support/random.ts';
import { randomFrom } from '../support/random.ts';
import type { FloatArray, Format } from '../support/ulp.ts';
import { FLOAT32, FORMATS } from '../support/ulp.ts';

// Small arrays too are computed on as many threads as a call allows.
native().setWorkPerThread(0);

const EVERY_K_TO_300 = Array.from({ length: 300 }, (_, i) => i + 1);
const LONGER_K = [500, 1000, 1023, 1024, 1025, 1500, 2047, 2048, 2049, 3000, 4097, 10_007];
const INNER = [1, 2, 3, 5, 8, 15, 16, 17, 33, 100];
const WIDE_INNER = [127, 128, 144, 161, 300];

const DISTRIBUTIONS = [gaussian(3), gaussian(30), gaussian(3, 65_530), gaussian(10, -1e6), ...SHAPES_OF_ROWS];

/** Rows of different distributions, one of them with a NaN: neighbours must not notice each other. */
function mixedRows(rows: number, k: number, random: Random, format: Format): FloatArray {
  const x = format.array(rows * k);
  for (let row = 0; row < rows; row++) {
    const distribution = DISTRIBUTIONS[random.below(DISTRIBUTIONS.length)]!;
    x.set(makeRows(distribution, 1, k, random, format), row * k);
  }
  if (rows > 2) x[(rows - 1) * k + random.below(k)] = NaN;
  return x;
}

/** Each row by itself, contiguous, on one thread: what everything else is compared with. */
function rowByRow(x: FloatArray, k: number, format: Format): FloatArray {
  const y = format.array(x.length);
  for (let start = 0; start < x.length; start += k) {
    y.set(softmax(x.slice(start, start + k), { threads: 1 }), start);
  }
  return y;
}

describe.each(byName(FORMATS))('softmax in %s has the same bits', (_format, format) => {
  it('alone and at every position of a batch', () => {
    const random = randomFrom(10);
    for (const k of [...EVERY_K_TO_300, ...LONGER_K]) {
      const rows = k <= 40 ? 37 : 5;
      const x = mixedRows(rows, k, random, format);
      expectSameBits(softmax(x, { shape: [rows, k] }), rowByRow(x, k, format), `${rows} rows, k = ${k}`);
    }
  });

  it('in the first row of batches of 1 to 70 rows', () => {
    const random = randomFrom(11);
    for (const k of [1, 2, 3, 4, 7, 10, 16, 17, 33, 100]) {
      const x = mixedRows(70, k, random, format);
      const expected = rowByRow(x, k, format);
      for (let rows = 1; rows <= 70; rows++) {
        const y = softmax(x.subarray(0, rows * k), { shape: [rows, k] });
        expectSameBits(y, expected.subarray(0, rows * k), `${rows} rows, k = ${k}`);
      }
    }
  });

  it('at every alignment, in ArrayBuffer and SharedArrayBuffer', () => {
    const random = randomFrom(12);
    for (const k of [1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 100, 129, 257, 1000, 1025, 2049]) {
      const x = mixedRows(3, k, random, format);
      const expected = rowByRow(x, k, format);
      for (let offset = 0; offset < 16; offset++) {
        for (const shared of [false, true]) {
          const input = viewAt(format, offset, 3 * k, shared);
          input.set(x);
          const out = viewAt(format, (5 * offset + 3) % 16, 3 * k, shared);
          softmax(input, { shape: [3, k], out });
          expectSameBits(out, expected, `offset ${offset}, shared ${shared}, k = ${k}`);
        }
      }
    }
  });

  it('in place, and the input is untouched otherwise', () => {
    const random = randomFrom(13);
    for (const k of [...EVERY_K_TO_300, ...LONGER_K]) {
      const x = mixedRows(3, k, random, format);
      const before = x.slice();
      const expected = softmax(x, { shape: [3, k] });
      expectSameBits(x, before, `input, k = ${k}`);
      expect(softmax(x, { shape: [3, k], out: x })).toBe(x);
      expectSameBits(x, expected, `in place, k = ${k}`);
    }
  });

  it('as a column, along axis 0 and a middle axis, as a contiguous row', () => {
    const random = randomFrom(14);
    const cases = [
      ...EVERY_K_TO_300.flatMap((k) => [0, 7].map((step) => [k, INNER[(k + step) % INNER.length]!] as const)),
      ...[1, 2, 3, 16, 63, 65, 129, 500, 1024, 1025, 2049].map(
        (k, i) => [k, WIDE_INNER[i % WIDE_INNER.length]!] as const,
      ),
      ...[1, 2, 3, 16, 33, 129, ...LONGER_K.slice(0, 9)].flatMap((k) =>
        INNER.map((inner) => [k, inner] as const),
      ),
    ];
    for (const [k, inner] of cases) {
      const rows = mixedRows(inner, k, random, format);
      const x = transposed(rows, inner, k, format);
      const expected = transposed(softmax(rows, { shape: [inner, k] }), inner, k, format);
      expectSameBits(
        softmax(x, { shape: [k, inner], axis: 0 }),
        expected,
        `axis 0, inner ${inner}, k = ${k}`,
      );

      const twice = format.array(2 * x.length);
      twice.set(x);
      twice.set(x, x.length);
      const middle = softmax(twice, { shape: [2, k, inner], axis: 1, out: twice });
      expectSameBits(middle.subarray(0, x.length), expected, `axis 1, inner ${inner}, k = ${k}`);
      expectSameBits(middle.subarray(x.length), expected, `axis 1, second block, inner ${inner}, k = ${k}`);
    }
  });

  it('on 1 to 4 threads', () => {
    const random = randomFrom(15);
    const cases = [
      { shape: [1, 300_001], axis: 1 },
      { shape: [3, 100_000], axis: 1 },
      { shape: [1000, 257], axis: 1 },
      { shape: [60_000, 3], axis: 1 },
      { shape: [40_000, 5, 1], axis: -2 },
      { shape: [300, 1000], axis: 0 },
      { shape: [70_001, 2], axis: 0 },
      { shape: [2, 3000, 40], axis: 1 },
      { shape: [3000, 10, 7], axis: 1 },
      { shape: [2, 2, 65_537], axis: 1 },
    ];
    for (const { shape, axis } of cases) {
      const length = shape.reduce((product, size) => product * size, 1);
      // Rows along the last axis of any length: the values only need to be varied.
      const x = makeRows(gaussian(20), 1, length, random, format);
      const expected = softmax(x, { shape, axis, threads: 1 });
      for (const threads of [2, 3, 4]) {
        const context = `[${shape.join(', ')}], axis ${axis}, ${threads} threads`;
        expectSameBits(softmax(x, { shape, axis, threads }), expected, context);
        expectSameBits(softmax(x.slice(), { shape, axis }), expected, `${context} by default`);
      }
      const inPlace = x.slice();
      expectSameBits(softmax(inPlace, { shape, axis, threads: 2, out: inPlace }), expected, `in place`);
    }
  });

  it('whether a column far down a huge row is met by one thread or another', () => {
    const random = randomFrom(16);
    for (const distribution of [
      ...SHAPES_OF_ROWS.filter(({ name }) => name.startsWith('each 1024')),
      gaussian(3, 1e5),
    ]) {
      for (const k of [65_536, 131_072, 200_003]) {
        const x = makeRows(distribution, 1, k, random, format);
        const expected = softmax(x, { threads: 1 });
        for (const threads of [2, 3, 4]) {
          expectSameBits(
            softmax(x, { threads }),
            expected,
            `${distribution.name}, k = ${k}, ${threads} threads`,
          );
        }
      }
    }
  });

  it('for equal logits of a row, for either zero, and for the row of numbers', () => {
    const random = randomFrom(17);
    for (const k of [2, 3, 9, 17, 100, 1000, 2049, 5000]) {
      const x = format.array(k).map(() => random.below(7) - 3);
      const y = softmax(x);
      for (let value = -3; value <= 3; value++) {
        const at = x.indexOf(value);
        for (let j = at; j >= 0 && j < k; j++) if (x[j] === value) expect(y[j]).toBe(y[at]);
      }
      expectSameBits(softmax(x.map((value) => (value === 0 ? -0 : value))), y, `-0, k = ${k}`);
      const numbers = softmax(Array.from(x));
      expectSameBits(Float64Array.from(numbers), softmax(Float64Array.from(x)), `numbers, k = ${k}`);
    }
  });
});

describe.each(byName(FORMATS))('the Jacobian in %s has the same bits', (_format, format) => {
  it('alone, in a batch, at every alignment and on 1 to 4 threads', () => {
    const random = randomFrom(20);
    for (const k of [...EVERY_K_TO_300.slice(0, 40), 63, 64, 65, 100, 127, 129, 257]) {
      const rows = 3;
      const x = mixedRows(rows, k, random, format);
      const expected = format.array(rows * k * k);
      for (let row = 0; row < rows; row++) {
        expected.set(softmaxJacobian(x.slice(row * k, (row + 1) * k), { threads: 1 }), row * k * k);
      }
      for (const threads of [1, 2, 3, 4]) {
        expectSameBits(
          softmaxJacobian(x, { shape: [rows, k], threads }),
          expected,
          `k = ${k}, ${threads} threads`,
        );
      }
      const offset = k % 16;
      const input = viewAt(format, offset, rows * k, true);
      input.set(x);
      const out = viewAt(format, (offset + 7) % 16, rows * k * k, true);
      expectSameBits(
        softmaxJacobian(input, { shape: [rows, k], out }),
        expected,
        `k = ${k}, offset ${offset}`,
      );
    }
  });

  it('at every position of a batch of short rows', () => {
    const random = randomFrom(23);
    for (const k of [...EVERY_K_TO_300.slice(0, 20), 31, 32, 33, 63, 64, 65, 128, 129]) {
      const rows = 37;
      const x = mixedRows(rows, k, random, format);
      const expected = format.array(rows * k * k);
      for (let row = 0; row < rows; row++) {
        expected.set(softmaxJacobian(x.slice(row * k, (row + 1) * k), { threads: 1 }), row * k * k);
      }
      expectSameBits(softmaxJacobian(x, { shape: [rows, k], threads: 1 }), expected, `k = ${k}`);
    }
  });

  it('in a batch of ordinary rows, which take their exponentials once', () => {
    const random = randomFrom(24);
    for (const k of [...EVERY_K_TO_300.slice(1, 20), 31, 32, 33, 63, 64, 65, 128]) {
      for (const distribution of [gaussian(1), gaussian(3), gaussian(3, 100), gaussian(8), gaussian(12)]) {
        const rows = 67;
        const x = makeRows(distribution, rows, k, random, format);
        // Some logits are subnormal numbers, or as small as makes their exponentials 1.
        for (let row = 0; row < rows; row += 5)
          x[row * k + random.below(k)]! *= 2 ** (format.minExponent - 10);
        for (let row = 1; row < rows; row += 5) x[row * k + random.below(k)]! *= 2 ** -60;
        const actual = softmaxJacobian(x, { shape: [rows, k], threads: 1 });
        for (let row = 0; row < rows; row++) {
          const expected = softmaxJacobian(x.slice(row * k, (row + 1) * k), { threads: 1 });
          const block = actual.subarray(row * k * k, (row + 1) * k * k);
          expectSameBits(block, expected, `${distribution.name}, k = ${k}, row ${row}`);
        }
      }
    }
  });

  it('for many rows on 1 to 4 threads', () => {
    const random = randomFrom(21);
    for (const [rows, k] of [
      [3000, 10],
      [200, 100],
      [1, 700],
      [3, 1025],
    ] as const) {
      const x = makeRows(gaussian(5), rows, k, random, format);
      const expected = softmaxJacobian(x, { shape: [rows, k], threads: 1 });
      for (const threads of [2, 3, 4]) {
        expectSameBits(
          softmaxJacobian(x, { shape: [rows, k], threads }),
          expected,
          `${rows} rows, k = ${k}, ${threads} threads`,
        );
      }
    }
  });

  it('on both sides of its diagonal', () => {
    const random = randomFrom(22);
    for (const k of [2, 3, 8, 17, 33, 100, 257]) {
      const x = mixedRows(2, k, random, format);
      const jacobian = softmaxJacobian(x, { shape: [2, k] });
      for (let row = 0; row < 2; row++) {
        const block = jacobian.slice(row * k * k, (row + 1) * k * k);
        expectSameBits(transposed(block, k, k, format), block, `k = ${k}`);
      }
    }
  });
});

// Large results are written past the caches; the tests above hold for small ones.
describe.each(byName(FORMATS))(
  'written past the caches, %s results have the same bits',
  (_format, format) => {
    const atDefault = 8 * 2 ** 20;
    afterEach(() => native().setPastCachesFrom(atDefault));

    /** Calls `compute` both ways, the second time into the middle of an array whose other elements must stay. */
    function expectSame(
      length: number,
      offset: number,
      compute: (out?: FloatArray) => FloatArray,
      context: string,
    ) {
      native().setPastCachesFrom(2 ** 50);
      const expected = compute();
      const array = viewAt(format, offset % 16, length + 40, false).fill(0.1875);
      const out = array.subarray(20, 20 + length);
      native().setPastCachesFrom(0);
      compute(out);
      expectSameBits(out, expected, context);
      expectSameBits(compute(), expected, `${context}, new`);
      expect(array.subarray(0, 20).every((value) => value === 0.1875)).toBe(true);
      expect(array.subarray(20 + length).every((value) => value === 0.1875)).toBe(true);
    }

    it('of softmax along the last axis', () => {
      const random = randomFrom(40);
      for (const k of [...EVERY_K_TO_300.slice(0, 70), 100, 127, 128, 129, 257, ...LONGER_K]) {
        for (const rows of [1, 3, k <= 130 ? 37 : 2]) {
          const x = mixedRows(rows, k, random, format);
          for (const threads of [1, 3]) {
            const compute = (out?: FloatArray) => softmax(x, { shape: [rows, k], threads, out });
            expectSame(x.length, random.below(16), compute, `${rows} rows, k = ${k}, ${threads} threads`);
          }
        }
      }
    });

    it('of softmax along other axes', () => {
      const random = randomFrom(41);
      for (const k of [2, 10, 65, 129, 1000, 1025, 2049]) {
        for (const inner of [7, 100, 128, 144, 161, 256]) {
          const x = transposed(mixedRows(inner, k, random, format), inner, k, format);
          const compute = (out?: FloatArray) => softmax(x, { shape: [k, inner], axis: 0, out });
          expectSame(x.length, random.below(2) * 12 + 12, compute, `inner ${inner}, k = ${k}`);
        }
      }
    });

    it('of Jacobians', () => {
      const random = randomFrom(42);
      for (const k of [...EVERY_K_TO_300.slice(0, 40), 63, 64, 65, 128, 129, 257, 1025]) {
        for (const rows of k < 130 ? [1, 3, 18] : [1]) {
          const x = mixedRows(rows, k, random, format);
          for (const threads of [1, 2]) {
            const compute = (out?: FloatArray) => softmaxJacobian(x, { shape: [rows, k], threads, out });
            expectSame(rows * k * k, random.below(16), compute, `${rows} rows, k = ${k}, ${threads} threads`);
          }
        }
      }
    });
  },
);

it('results in memory that nobody has used, which are not written past the caches, have the same bits', () => {
  // Larger than what malloc keeps: the system finds these pages when they are written.
  const k = 1000;
  const rows = 9;
  const x = mixedRows(rows, k, randomFrom(43), FLOAT32);
  const used = new Float32Array(rows * k * k).fill(1);
  softmaxJacobian(x, { shape: [rows, k], out: used });
  expectSameBits(softmaxJacobian(x, { shape: [rows, k] }), used, 'a new result');
  const unused = new Float32Array(rows * k * k);
  expectSameBits(softmaxJacobian(x, { shape: [rows, k], out: unused }), used, 'a new array as out');
});

describe.each(byName(FORMATS))('rowMax in %s gives the same', (_format, format) => {
  it('in batches of short rows of special values as one element after the other', () => {
    const random = randomFrom(31);
    const values = [-Infinity, -Infinity, -1, -0, 0, 0.5, 0.5, 3, Infinity, NaN];
    for (const k of [...EVERY_K_TO_300.slice(0, 20), 31, 33, 63, 64, 65, 127, 128, 129]) {
      // Of the rows some have all of the values, and some no more than the first few.
      const rows = 75;
      const x = format.array(rows * k).map((_, i) => values[random.below(1 + (Math.floor(i / k) % 10))]!);
      const expected = { max: format.array(rows), argmax: new Int32Array(rows) };
      for (let row = 0; row < rows; row++) {
        let best = 0;
        const of = (j: number): number => x[row * k + j]!;
        for (let j = 1; j < k; j++) {
          if (of(j) > of(best) || (Number.isNaN(of(j)) && !Number.isNaN(of(best)))) best = j;
        }
        expected.max[row] = of(best);
        expected.argmax[row] = best;
      }
      for (const count of [2, 3, 15, 16, 17, rows]) {
        const actual = rowMax(x.subarray(0, count * k), { shape: [count, k] });
        expectSameBits(actual.max, expected.max.subarray(0, count), `${count} rows, k = ${k}`);
        expect(actual.argmax, `${count} rows, k = ${k}`).toEqual(expected.argmax.slice(0, count));
      }
    }
  });

  it('along any axis, at any alignment, on 1 to 4 threads', () => {
    const random = randomFrom(30);
    const cases = [
      ...EVERY_K_TO_300.filter((k) => k < 70 || k % 17 === 0).map(
        (k) => [k, INNER[k % INNER.length]!] as const,
      ),
      [100_003, 1],
      [1000, 100],
      [3, 50_000],
      [2049, 130],
    ] as const;
    for (const [k, inner] of cases) {
      const rows = mixedRows(inner, k, random, format);
      const expected = { max: format.array(inner), argmax: new Int32Array(inner) };
      for (let i = 0; i < inner; i++) {
        const { max, argmax } = rowMax(rows.slice(i * k, (i + 1) * k), { threads: 1 });
        expected.max[i] = max[0]!;
        expected.argmax[i] = argmax[0]!;
      }
      const block = viewAt(format, k % 16, k * inner, true);
      block.set(transposed(rows, inner, k, format));
      for (const threads of [1, 2, 4]) {
        const context = `k = ${k}, inner ${inner}, ${threads} threads`;
        for (const actual of [
          rowMax(rows, { shape: [inner, k], threads }),
          rowMax(block, { shape: [k, inner], axis: 0, threads }),
        ]) {
          expectSameBits(actual.max, expected.max, context);
          expect(actual.argmax, context).toEqual(expected.argmax);
        }
      }
    }
  });
});
