// Double-double arithmetic: a real number as an unevaluated sum hi + lo of two float64, about 106 bits (32 digits).
// It gives the references of the accuracy tests their speed; the tests hold it against decimal.js. After T. J.
// Dekker (1971) and M. Joldes, J.-M. Muller, V. Popescu (2017), whose bounds on each operation are quoted.

export interface DoubleDouble {
  readonly hi: number;
  readonly lo: number;
}

/** a + b without error (unless it overflows). */
export function twoSum(a: number, b: number): DoubleDouble {
  const hi = a + b;
  const part = hi - a;
  return { hi, lo: a - (hi - part) + (b - part) };
}

function quickTwoSum(large: number, small: number): DoubleDouble {
  const hi = large + small;
  return { hi, lo: small - (hi - large) };
}

// 2^27 + 1 cuts a float64 into halves whose products are exact; JavaScript has no fused multiply-add.
const SPLITTER = 134217729;

/** a * b without error, while the product and its error stay in the normal range. */
export function twoProduct(a: number, b: number): DoubleDouble {
  const hi = a * b;
  const aScaled = SPLITTER * a;
  const aHigh = aScaled - (aScaled - a);
  const aLow = a - aHigh;
  const bScaled = SPLITTER * b;
  const bHigh = bScaled - (bScaled - b);
  const bLow = b - bHigh;
  return { hi, lo: aHigh * bHigh - hi + aHigh * bLow + aLow * bHigh + aLow * bLow };
}

/** x + y, relative error below 3 * 2^-106 whatever cancels. */
export function add(x: DoubleDouble, y: DoubleDouble): DoubleDouble {
  const high = twoSum(x.hi, y.hi);
  const low = twoSum(x.lo, y.lo);
  const sum = quickTwoSum(high.hi, high.lo + low.hi);
  return quickTwoSum(sum.hi, sum.lo + low.lo);
}

/** x * y, relative error below 7 * 2^-106. */
export function multiply(x: DoubleDouble, y: DoubleDouble): DoubleDouble {
  const product = twoProduct(x.hi, y.hi);
  return quickTwoSum(product.hi, product.lo + (x.hi * y.lo + x.lo * y.hi));
}

/** x / y, relative error below 2^-102. */
export function divide(x: DoubleDouble, y: DoubleDouble): DoubleDouble {
  const first = x.hi / y.hi;
  const remainder = add(x, negate(multiply(y, { hi: first, lo: 0 })));
  const second = remainder.hi / y.hi;
  const rest = add(remainder, negate(multiply(y, { hi: second, lo: 0 })));
  const quotient = quickTwoSum(first, second);
  return add(quotient, { hi: rest.hi / y.hi, lo: 0 });
}

export function negate(x: DoubleDouble): DoubleDouble {
  return { hi: -x.hi, lo: -x.lo };
}

/** x * 2^exponent; exact while both parts stay in the normal range. */
export function scale(x: DoubleDouble, exponent: number): DoubleDouble {
  return { hi: x.hi * powerOfTwo(exponent), lo: x.lo * powerOfTwo(exponent) };
}

const powers = new Float64Array(1074 + 1024);
powers[1074] = 1;
for (let exponent = 1; exponent < 1024; exponent++) powers[1074 + exponent] = 2 * powers[1073 + exponent]!;
for (let exponent = -1; exponent >= -1074; exponent--) powers[1074 + exponent] = powers[1075 + exponent]! / 2;

/** 2^exponent for -1074 <= exponent <= 1023, exact; 0 below. */
export function powerOfTwo(exponent: number): number {
  return powers[exponent + 1074] ?? 0;
}

// ln 2 as three float64 whose sum is good to 160 bits.
const LN2 = [0.6931471805599453, 2.3190468138462996e-17, 5.707708438416212e-34] as const;

// 1/1! ... 1/11!. The argument is below ln2 / 2 / 512, so the next term is below 2^-130 of the first.
const TAYLOR: DoubleDouble[] = [{ hi: 1, lo: 0 }];
for (let n = 2; n <= 11; n++) TAYLOR.push(divide(TAYLOR[n - 2]!, { hi: n, lo: 0 }));

export interface ScaledDoubleDouble extends DoubleDouble {
  /** The value is (hi + lo) * 2^exponent. */
  readonly exponent: number;
}

/**
 * exp(x) for abs(x) <= 4096, relative error below 2^-98: n = round(x / ln2), r = x - n ln2, and exp(r) - 1 from its
 * Taylor series at r / 512 by nine doublings e <- 2 e + e^2, which keep the relative error of e.
 */
export function exp(x: DoubleDouble): ScaledDoubleDouble {
  const n = Math.round(x.hi / LN2[0]);
  let r = add(x, negate(twoProduct(n, LN2[0])));
  r = add(r, negate(twoProduct(n, LN2[1])));
  r = add(r, { hi: -n * LN2[2], lo: 0 });
  r = scale(r, -9);
  let sum = TAYLOR[10]!;
  for (let i = 9; i >= 0; i--) sum = add(multiply(sum, r), TAYLOR[i]!);
  let e = multiply(sum, r);
  for (let i = 0; i < 9; i++) e = add(scale(e, 1), multiply(e, e));
  const { hi, lo } = add({ hi: 1, lo: 0 }, e);
  return { hi, lo, exponent: n };
}
