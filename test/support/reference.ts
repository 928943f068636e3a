// References of at least 100 bits for softmax and its Jacobian: y_j = exp(x_j - m) / sum_l exp(x_l - m), m = max x,
// evaluated in double-double with an exponent of their own, so that no result underflows; and once more in
// decimal.js, to 45 digits, for rows of few distinct logits. Neither shares a line with the library.
import { Decimal } from 'decimal.js';
import type { DoubleDouble, ScaledDoubleDouble } from './double-double.ts';
import { add, divide, exp, multiply, powerOfTwo, scale, twoSum } from './double-double.ts';
import type { Real } from './ulp.ts';
import { normalise, ZERO } from './ulp.ts';

/** exp(-3000) lies below the square of every format's smallest normal: such terms are nothing, and their results +0. */
const NOTHING = -3000;

function maximum(row: ArrayLike<number>): number {
  let max = -Infinity;
  for (let j = 0; j < row.length; j++) max = Math.max(max, row[j]!);
  return max;
}

const SCALED_ZERO: ScaledDoubleDouble = { hi: 0, lo: 0, exponent: 0 };

function exponentials(row: ArrayLike<number>): ScaledDoubleDouble[] {
  const max = maximum(row);
  const terms: ScaledDoubleDouble[] = [];
  for (let j = 0; j < row.length; j++) {
    const x = row[j]!;
    terms.push(x - max > NOTHING ? exp(twoSum(x, -max)) : SCALED_ZERO);
  }
  return terms;
}

/** Sum of the terms, but not of the one at `except`, in units of 2^exponent of the largest. */
function sum(terms: readonly ScaledDoubleDouble[], except = -1): ScaledDoubleDouble {
  let exponent = -Infinity;
  for (let j = 0; j < terms.length; j++) {
    if (j !== except && terms[j]!.hi !== 0) exponent = Math.max(exponent, terms[j]!.exponent);
  }
  if (exponent === -Infinity) return SCALED_ZERO;
  let total: DoubleDouble = { hi: 0, lo: 0 };
  for (let j = 0; j < terms.length; j++) {
    const term = terms[j]!;
    // 2^-200 of the largest term is nothing, and scaling below the normal range would round.
    if (j !== except && term.exponent - exponent > -200)
      total = add(total, scale(term, term.exponent - exponent));
  }
  return { ...total, exponent };
}

function ratio(x: ScaledDoubleDouble, y: ScaledDoubleDouble): Real {
  if (x.hi === 0) return ZERO;
  const { hi, lo } = divide(x, y);
  return normalise(hi, lo, x.exponent - y.exponent);
}

function product(x: Real, y: Real): Real {
  if (x.hi === 0 || y.hi === 0) return ZERO;
  const { hi, lo } = multiply(x, y);
  return normalise(hi, lo, x.exponent + y.exponent);
}

/** The probabilities of a row whose maximum is finite. */
export function softmaxReference(row: ArrayLike<number>): Real[] {
  const terms = exponentials(row);
  const total = sum(terms);
  return terms.map((term) => ratio(term, total));
}

/** The magnitude of entry (i, j) of a row's Jacobian; it is positive on the diagonal and negative elsewhere. */
export type JacobianReference = (i: number, j: number) => Real;

export function jacobianReference(row: ArrayLike<number>): JacobianReference {
  const terms = exponentials(row);
  const total = sum(terms);
  const probabilities = terms.map((term) => ratio(term, total));
  // 1 - p_i without cancellation: the other terms are summed afresh where p_i is more than a quarter.
  const complements = terms.map((term, i) => {
    if (term.hi !== 0 && probabilities[i]!.exponent >= -2) return ratio(sum(terms, i), total);
    const small = scale(term, term.exponent - total.exponent);
    return ratio({ ...add(total, { hi: -small.hi, lo: -small.lo }), exponent: total.exponent }, total);
  });
  return (i, j) => product(probabilities[i]!, i === j ? complements[i]! : probabilities[j]!);
}

const Digits45 = Decimal.clone({ precision: 45, rounding: Decimal.ROUND_HALF_EVEN });
const Digits400 = Decimal.clone({ precision: 400 });

/** A float64 in binary, as far as 400 digits tell it; decimal.js itself would read the number's shortest decimal digits. */
function decimal(x: number): Decimal {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, x);
  const word = bits.getBigUint64(0);
  const field = Number((word >> 52n) & 2047n);
  const fraction = word & ((1n << 52n) - 1n);
  const significand = field === 0 ? fraction : fraction | (1n << 52n);
  const magnitude = new Digits400(significand.toString()).times(
    new Digits400(2).pow(Math.max(field, 1) - 1075),
  );
  return x < 0 ? magnitude.negated() : magnitude;
}

function realOf(value: Decimal): Real {
  if (value.isZero()) return ZERO;
  // Near its base-2 exponent; normalise finds the rest.
  const exponent = Math.round(value.e * Math.log2(10));
  const scaled = value.div(new Digits45(2).pow(exponent));
  const hi = scaled.toNumber();
  return normalise(hi, scaled.minus(decimal(hi)).toNumber(), exponent);
}

/** exp(x) to 45 digits; the tests ask for the same few hundred arguments again and again. */
const decimalExp = (() => {
  const known = new Map<string, Decimal>();
  return (x: Decimal): Decimal => {
    const key = x.toString();
    let value = known.get(key);
    if (value === undefined) known.set(key, (value = new Digits45(x).exp()));
    return value;
  };
})();

/** The probabilities of a row that holds logits[j] counts[j] times, in 45 digits: one Real per distinct logit. */
export function decimalSoftmaxReference(logits: readonly number[], counts: readonly number[]): Real[] {
  const max = decimal(maximum(logits));
  const terms = logits.map((x) => decimalExp(decimal(x).minus(max)));
  const total = terms.reduce((partial, term, j) => partial.plus(term.times(counts[j]!)), new Digits45(0));
  return terms.map((term) => realOf(term.div(total)));
}

/** For checking one reference against the other: abs(x - y) / x. */
export function relativeDifference(x: Real, y: Real): number {
  const factor = powerOfTwo(y.exponent - x.exponent);
  return Math.abs(x.hi - y.hi * factor + (x.lo - y.lo * factor)) / x.hi;
}
