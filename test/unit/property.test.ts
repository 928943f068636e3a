// Properties that hold for every input: of probabilities, of derivatives, and of the ways to lay rows out in memory.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rowMax, softmax, softmaxJacobian } from '../../lib/index.ts';
import { expectSameBits } from '../support/bits.ts';
import { byName } from '../support/by-name.ts';
import { powerOfTwo } from '../support/double-double.ts';
import type { FloatArray, Format } from '../support/ulp.ts';
import { binade, FORMATS } from '../support/ulp.ts';

/** Twice the contract's bound: two results with the same true value are at most this many ulp apart. */
const TWO_RESULTS = 4;

/** abs(a - b) in ulp of the larger; a flushed result counts as the limit below which it was flushed. */
function ulpsApart(a: number, b: number, format: Format): number {
  const smallest = powerOfTwo(format.minExponent);
  const [x, y] = [Math.max(a, smallest), Math.max(b, smallest)];
  return Math.abs(x - y) / powerOfTwo(binade(Math.max(x, y)) - format.digits + 1);
}

function finite(format: Format): fc.Arbitrary<number> {
  return format.name === 'float32'
    ? fc.float({ noNaN: true, noDefaultInfinity: true })
    : fc.double({ noNaN: true, noDefaultInfinity: true });
}

/** Logits as models give them, with a share of results that are flushed. */
function ordinary(format: Format): fc.Arbitrary<number> {
  return fc
    .tuple(fc.integer({ min: -(2 ** 30), max: 2 ** 30 }), fc.constantFrom(-28, -26, -24, -23))
    .map(([integer, exponent]) => {
      const logit = integer * powerOfTwo(exponent);
      return format.name === 'float32' ? Math.fround(logit) : logit;
    });
}

function rowsOf(logit: fc.Arbitrary<number>, format: Format, maxLength = 70): fc.Arbitrary<FloatArray> {
  return fc.array(logit, { minLength: 1, maxLength }).map((values) => {
    const row = format.array(values.length);
    row.set(values);
    return row;
  });
}

function sumOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}

describe.each(byName(FORMATS))('softmax in %s', (_format, format) => {
  const epsilon = powerOfTwo(1 - format.digits);
  const smallest = powerOfTwo(format.minExponent);

  it('of finite logits are probabilities whose sum is 1', () => {
    fc.assert(
      fc.property(fc.oneof(rowsOf(finite(format), format), rowsOf(ordinary(format), format, 3000)), (x) => {
        const y = softmax(x);
        expect(y.every((value) => value >= 0 && value <= 1)).toBe(true);
        // Two ulp of each, at most epsilon of it one; what was flushed; and the rounding of this float64 sum.
        const bound = 2 * epsilon + x.length * (smallest + powerOfTwo(-53));
        expect(Math.abs(sumOf(y) - 1)).toBeLessThanOrEqual(bound);
      }),
      { numRuns: 300 },
    );
  });

  it('does not change when every logit grows by the same', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -4000, max: 4000 }), { minLength: 1, maxLength: 300 }),
        fc.integer({ min: -(2 ** 18), max: 2 ** 18 }),
        (eighths, shift) => {
          // Both sums are exact: eighths up to 2^18 need 21 bits.
          const x = format.array(eighths.length).map((_, j) => eighths[j]! / 8);
          const shifted = x.map((value) => value + shift);
          const [y, z] = [softmax(x), softmax(shifted)];
          for (let j = 0; j < x.length; j++) {
            expect(ulpsApart(y[j]!, z[j]!, format)).toBeLessThanOrEqual(TWO_RESULTS);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('moves with its logits when they change places', () => {
    const shuffledRow = fc.array(ordinary(format), { minLength: 1, maxLength: 300 }).chain((row) =>
      fc.tuple(
        fc.constant(row),
        fc.shuffledSubarray(
          row.map((_, j) => j),
          { minLength: row.length },
        ),
      ),
    );
    fc.assert(
      fc.property(shuffledRow, ([row, order]) => {
        const x = format.array(row.length);
        x.set(row);
        const y = softmax(x);
        const z = softmax(x.map((_, j) => x[order[j]!]!));
        for (const [j, from] of order.entries()) {
          expect(ulpsApart(z[j]!, y[from]!, format)).toBeLessThanOrEqual(TWO_RESULTS);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('keeps the order of the logits', () => {
    fc.assert(
      fc.property(fc.oneof(rowsOf(ordinary(format), format), rowsOf(finite(format), format)), (x) => {
        const sorted = x.toSorted((a, b) => a - b);
        const y = softmax(sorted);
        for (let j = 1; j < sorted.length; j++) {
          const [lower, upper] = [y[j - 1]!, y[j]!];
          if (sorted[j] === sorted[j - 1]) expect(upper).toBe(lower);
          // The true values are over 4 ulp apart then; nearer ones may be rounded to change places.
          else if (sorted[j]! - sorted[j - 1]! >= 5 * epsilon)
            expect(upper > lower || upper === 0).toBe(true);
          else expect(upper >= lower || ulpsApart(lower, upper, format) <= TWO_RESULTS).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('has its largest value where rowMax finds the largest logit', () => {
    fc.assert(
      fc.property(fc.oneof(rowsOf(ordinary(format), format), rowsOf(finite(format), format)), (x) => {
        const y = softmax(x);
        const top = y[rowMax(x).argmax[0]!]!;
        expect(top).toBeGreaterThanOrEqual((1 - 2 * epsilon) / x.length);
        for (const value of y)
          expect(value <= top || ulpsApart(value, top, format) <= TWO_RESULTS).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('along any axis of any shape is softmax of each row, bit for bit', () => {
    const shaped = fc
      .array(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: 4 })
      .chain((shape) =>
        fc.tuple(
          fc.constant(shape),
          fc.integer({ min: -shape.length, max: shape.length - 1 }),
          fc.infiniteStream(
            fc.oneof({ weight: 20, arbitrary: ordinary(format) }, { weight: 1, arbitrary: finite(format) }),
          ),
          fc.integer({ min: 1, max: 4 }),
        ),
      );
    fc.assert(
      fc.property(shaped, ([shape, axis, logits, threads]) => {
        const length = shape.reduce((product, size) => product * size, 1);
        const x = format.array(length).map(() => logits.next().value!);
        const positive = axis < 0 ? axis + shape.length : axis;
        const k = shape[positive]!;
        const inner = shape.slice(positive + 1).reduce((product, size) => product * size, 1);
        const expected = format.array(length);
        const expectedMax: number[] = [];
        for (let first = 0; first < length; first++) {
          // The first element of a row has index 0 along the axis.
          if (Math.floor(first / inner) % k !== 0) continue;
          const row = format.array(k).map((_, j) => x[first + j * inner]!);
          const y = softmax(row);
          for (let j = 0; j < k; j++) expected[first + j * inner] = y[j]!;
          expectedMax.push(rowMax(row).argmax[0]!);
        }
        const context = `[${shape.join(', ')}], axis ${axis}`;
        expectSameBits(softmax(x, { shape, axis, threads }), expected, context);
        if (length > 0)
          expect(Array.from(rowMax(x, { shape, axis, threads }).argmax), context).toEqual(expectedMax);
      }),
      { numRuns: 500 },
    );
  });
});

describe.each(byName(FORMATS))('the Jacobian in %s', (_format, format) => {
  const epsilon = powerOfTwo(1 - format.digits);
  const smallest = powerOfTwo(format.minExponent);

  it('of finite logits is symmetric, positive on its diagonal only, and has rows whose sum is 0', () => {
    fc.assert(
      fc.property(fc.oneof(rowsOf(ordinary(format), format, 40), rowsOf(finite(format), format, 40)), (x) => {
        const k = x.length;
        const jacobian = softmaxJacobian(x);
        for (let i = 0; i < k; i++) {
          const row = jacobian.subarray(i * k, (i + 1) * k);
          for (let j = 0; j < k; j++) {
            expect(Object.is(row[j], jacobian[j * k + i])).toBe(true);
            if (Object.is(row[j], 0)) continue;
            expect(Math.sign(row[j]!)).toBe(i === j ? 1 : -1);
            expect(Math.abs(row[j]!)).toBeGreaterThanOrEqual(smallest);
          }
          const magnitude = sumOf(row.map(Math.abs));
          const bound = magnitude * (4 * epsilon + k * powerOfTwo(-52)) + k * smallest;
          expect(Math.abs(sumOf(row))).toBeLessThanOrEqual(bound);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("is p_i (1 - p_i) and -p_i p_j of softmax's own results", () => {
    fc.assert(
      fc.property(rowsOf(ordinary(format), format, 40), (x) => {
        const k = x.length;
        const y = softmax(x);
        const jacobian = softmaxJacobian(x);
        for (let i = 0; i < k; i++) {
          const others = sumOf(y) - y[i]!;
          for (let j = 0; j < k; j++) {
            const product = y[i]! * (i === j ? others : y[j]!);
            const expected = product < smallest ? 0 : product;
            // Loose only because `others` is formed by subtraction; accuracy.test.ts holds the entries to 4 ulp.
            const slack = 8 * epsilon * product + (i === j ? 8 * k * epsilon * y[i]! : 0) + smallest;
            expect(Math.abs(Math.abs(jacobian[i * k + j]!) - expected)).toBeLessThanOrEqual(slack);
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe.each(byName(FORMATS))('rowMax in %s', (_format, format) => {
  it('is the first NaN, or else the first of the largest', () => {
    const any = format.name === 'float32' ? fc.float() : fc.double();
    const few = fc.constantFrom(-Infinity, -1, -0, 0, 1, Infinity);
    fc.assert(
      fc.property(
        fc.oneof(
          rowsOf(any, format, 200),
          rowsOf(few, format, 200),
          rowsOf(finite(format), format, 200),
          rowsOf(
            fc.oneof({ weight: 30, arbitrary: few }, { weight: 1, arbitrary: fc.constant(NaN) }),
            format,
            200,
          ),
        ),
        (x) => {
          let expected = 0;
          for (let j = 0; j < x.length; j++) {
            if (Number.isNaN(x[expected]!)) break;
            if (Number.isNaN(x[j]!) || x[j]! > x[expected]!) expected = j;
          }
          const { max, argmax } = rowMax(x);
          expect(argmax[0]).toBe(expected);
          expect(Object.is(max[0], x[expected])).toBe(true);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
