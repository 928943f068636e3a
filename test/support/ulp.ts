// Errors in units in the last place, as a real number: abs(actual - reference) / ulp(reference), the ulp taken in
// the reference's binade. Results below the smallest normal are not rounded but flushed: there +0 is the one right
// answer.
import { powerOfTwo } from './double-double.ts';

export type FloatArray = Float32Array | Float64Array;
export type FormatName = 'float32' | 'float64';

export interface Format {
  readonly name: FormatName;
  /** Bits of the significand, the hidden one included. */
  readonly digits: number;
  /** The smallest normal is 2^minExponent. */
  readonly minExponent: number;
  readonly array: (length: number) => FloatArray;
}

export const FLOAT32: Format = {
  name: 'float32',
  digits: 24,
  minExponent: -126,
  array: (length) => new Float32Array(length),
};
export const FLOAT64: Format = {
  name: 'float64',
  digits: 53,
  minExponent: -1022,
  array: (length) => new Float64Array(length),
};
export const FORMATS: readonly Format[] = [FLOAT32, FLOAT64];

/** A positive real (hi + lo) * 2^exponent with 1 <= hi + lo < 2, or zero with hi = 0. */
export interface Real {
  readonly hi: number;
  readonly lo: number;
  readonly exponent: number;
}

export const ZERO: Real = { hi: 0, lo: 0, exponent: 0 };

const bitsOf = new DataView(new ArrayBuffer(8));

/** floor(log2 x) of a positive normal number. */
export function binade(x: number): number {
  bitsOf.setFloat64(0, x);
  return ((bitsOf.getUint16(0) >> 4) & 2047) - 1023;
}

/** The Real of (hi + lo) * 2^exponent. */
export function normalise(hi: number, lo: number, exponent: number): Real {
  if (hi === 0) return ZERO;
  let shift = binade(hi);
  // Just below a power of two, hi is that power and lo is negative.
  if (lo < 0 && hi === powerOfTwo(shift)) shift -= 1;
  return { hi: hi * powerOfTwo(-shift), lo: lo * powerOfTwo(-shift), exponent: exponent + shift };
}

/**
 * The error of `actual` against a reference that is zero or positive. Infinity where the flush rule is broken: a
 * true value below the smallest normal must be given as +0. Within one ulp of that limit both +0 and a number
 * within the bound are right, for nobody rounds an unknown real to a limit without error; +0 then counts as exact.
 */
export function ulpError(actual: number, reference: Real, format: Format): number {
  const { hi, lo, exponent } = reference;
  const oneUlp = powerOfTwo(1 - format.digits);
  const aboveLimit = (hi - 1 + lo) * powerOfTwo(exponent - format.minExponent);
  const belowLimit = 1 - (hi + lo) * powerOfTwo(exponent - format.minExponent);
  if (hi === 0 || exponent < format.minExponent) {
    if (Object.is(actual, 0)) return 0;
    if (hi === 0 || belowLimit > oneUlp) return Infinity;
    return actual >= powerOfTwo(format.minExponent)
      ? (actual * powerOfTwo(-format.minExponent) - 1 + belowLimit) / oneUlp
      : Infinity;
  }
  if (Object.is(actual, 0)) return exponent === format.minExponent && aboveLimit <= oneUlp ? 0 : Infinity;
  if (!(actual >= powerOfTwo(format.minExponent)) || actual === Infinity) return Infinity;
  return Math.abs(actual * powerOfTwo(-exponent) - hi - lo) / oneUlp;
}
