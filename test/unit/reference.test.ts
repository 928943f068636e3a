// The references themselves: double-double against 45 digits of decimal.js, and the ulp measure at its corners.
import { describe, expect, it } from 'vitest';
import { fnv1a } from '../support/bits.ts';
import { powerOfTwo } from '../support/double-double.ts';
import { randomFrom } from '../support/random.ts';
import {
  decimalSoftmaxReference,
  jacobianReference,
  relativeDifference,
  softmaxReference,
} from '../support/reference.ts';
import { FLOAT32, FLOAT64, normalise, ulpError, ZERO } from '../support/ulp.ts';

describe('softmax reference', () => {
  const random = randomFrom(4);
  const rows = [
    ...[0.01, 1, 30, 300].map((sigma) => Array.from({ length: 30 }, () => sigma * random.gaussian())),
    [0, -745, -1400],
    [1e6, 1e6 - 0.001, 999_000],
    [-1e15, -1e15 - 0.125],
    [5e-324, 0, -5e-324],
    [1.7e308, 1.7e308, -1.7e308],
    [0.1, 0.1, 0.3],
  ];
  it.each(rows.map((row) => [row]))('agrees with 45 digits: %j', (row) => {
    const reference = softmaxReference(row);
    const decimal = decimalSoftmaxReference(
      row,
      row.map(() => 1),
    );
    for (const [j, value] of decimal.entries()) {
      if (value.hi === 0 || value.exponent < -4000) expect(reference[j]).toEqual(ZERO);
      else expect(relativeDifference(value, reference[j]!)).toBeLessThan(1e-30);
    }
  });

  it('of few distinct logits counts each as often as it occurs', () => {
    const [logits, counts] = [
      [1, 2, 3],
      [4, 1, 2],
    ];
    const row = [1, 2, 1, 3, 1, 3, 1];
    const reference = softmaxReference(row);
    const decimal = decimalSoftmaxReference(logits, counts);
    for (const [j, x] of row.entries()) {
      expect(relativeDifference(decimal[x - 1]!, reference[j]!)).toBeLessThan(1e-30);
    }
  });

  it('of the Jacobian keeps the complement of a probability that is all but 1', () => {
    const entry = jacobianReference([0, -80]);
    // p (1 - p) = e^-80 / (1 + e^-80)^2, and e^-160 is nothing beside 1.
    const expected = decimalSoftmaxReference([0, -80], [1, 1])[1]!;
    for (const [i, j] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      expect(relativeDifference(expected, entry(i, j))).toBeLessThan(1e-30);
    }
  });
});

describe('ulp error', () => {
  it('is measured in the binade of the reference', () => {
    expect(ulpError(1 + 2 ** -22, normalise(1, 0, 0), FLOAT32)).toBe(2);
    expect(ulpError(1 - 2 ** -24, normalise(1, 0, 0), FLOAT32)).toBe(0.5);
    expect(ulpError(1, normalise(1, -(2 ** -60), 0), FLOAT32)).toBe(2 ** -36);
    expect(ulpError(0.75, normalise(0.75, 2 ** -55, 0), FLOAT64)).toBe(0.25);
    expect(ulpError(3 * powerOfTwo(-126), normalise(3, 0, -126), FLOAT32)).toBe(0);
    expect(ulpError(powerOfTwo(-1022), normalise(1, 0, -1022), FLOAT64)).toBe(0);
  });

  it('asks for +0 below the smallest normal', () => {
    expect(ulpError(0, normalise(1.99, 0, -127), FLOAT32)).toBe(0);
    expect(ulpError(-0, normalise(1.99, 0, -127), FLOAT32)).toBe(Infinity);
    expect(ulpError(1.99 * powerOfTwo(-127), normalise(1.99, 0, -127), FLOAT32)).toBe(Infinity);
    expect(ulpError(powerOfTwo(-126), normalise(1.99, 0, -127), FLOAT32)).toBe(Infinity);
    expect(ulpError(0, ZERO, FLOAT64)).toBe(0);
    expect(ulpError(powerOfTwo(-1022), ZERO, FLOAT64)).toBe(Infinity);
    expect(ulpError(0, normalise(1, 0, -3000), FLOAT64)).toBe(0);
  });

  it('lets a value within an ulp of the smallest normal be either', () => {
    const below = normalise(2 - 2 ** -23, 0, -127);
    const above = normalise(1 + 2 ** -24, 0, -126);
    for (const near of [below, above]) {
      expect(ulpError(0, near, FLOAT32)).toBe(0);
      expect(ulpError(powerOfTwo(-126), near, FLOAT32)).toBe(0.5);
    }
    expect(ulpError(0, normalise(1 + 2 ** -22, 0, -126), FLOAT32)).toBe(Infinity);
  });

  it('finds 0 and NaN in place of a number infinitely wrong', () => {
    expect(ulpError(0, normalise(1e-5, 0, 0), FLOAT32)).toBe(Infinity);
    expect(ulpError(NaN, normalise(1e-5, 0, 0), FLOAT32)).toBe(Infinity);
    expect(ulpError(-1e-5, normalise(1e-5, 0, 0), FLOAT64)).toBe(Infinity);
  });
});

describe('FNV-1a', () => {
  it('gives the published hashes of the empty text and of 8 bytes', () => {
    expect(fnv1a(new Float64Array(0))).toBe('cbf29ce484222325');
    // "chongo w" (0x77206f676e6f6863 as a little-endian word).
    const text = new Float64Array(1);
    new BigUint64Array(text.buffer)[0] = 0x77206f676e6f6863n;
    let hash = 0xcbf29ce484222325n;
    for (const byte of new Uint8Array(text.buffer))
      hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
    expect(fnv1a(text)).toBe(hash.toString(16));
  });
});
