// The worst error of softmax and of its Jacobian, in ulp, over rows of one distribution.
import type { Distribution } from './distributions.ts';
import type { Random } from './random.ts';
import { decimalSoftmaxReference, jacobianReference, softmaxReference } from './reference.ts';
import type { FloatArray, Format } from './ulp.ts';
import { ulpError } from './ulp.ts';

/** What is measured: a function of rows * k logits, as the package gives it. */
export type RowFunction = <T extends FloatArray>(x: T, options: { shape: number[] }) => T;

/** One entry that is as far from its reference as any. */
export interface Worst {
  readonly ulp: number;
  readonly k: number;
  /** Where it was, and from what: enough to make it again. */
  readonly row: FloatArray;
  readonly entry: readonly number[];
  readonly actual: number;
}

/** rows * k logits of the distribution, rounded to the format. */
export function makeRows(
  distribution: Distribution,
  rows: number,
  k: number,
  random: Random,
  format: Format,
): FloatArray {
  const x = format.array(rows * k);
  for (let row = 0; row < rows; row++) x.set(distribution.row(k, random, format), row * k);
  return x;
}

const NOTHING_YET: Worst = { ulp: -1, k: 0, row: new Float64Array(0), entry: [], actual: NaN };

export function worse(a: Worst, b: Worst): Worst {
  return b.ulp > a.ulp ? b : a;
}

export function worstOf(worsts: readonly Worst[]): Worst {
  return worsts.reduce(worse, NOTHING_YET);
}

/** The worst entry of softmax(x); x holds rows of k logits with a finite maximum each. */
export function measureSoftmax(softmax: RowFunction, x: FloatArray, k: number, format: Format): Worst {
  const rows = x.length / k;
  const y = softmax(x, { shape: [rows, k] });
  let worst = NOTHING_YET;
  for (let start = 0; start < x.length; start += k) {
    const row = x.subarray(start, start + k);
    const reference = softmaxReference(row);
    for (let j = 0; j < k; j++) {
      const actual = y[start + j]!;
      const ulp = ulpError(actual, reference[j]!, format);
      if (ulp > worst.ulp) worst = { ulp, k, row, entry: [j], actual };
    }
  }
  return worst;
}

/** The worst entry of softmaxJacobian(x), the sign of each counted: J_ii >= +0, and J_ij < 0 or +0 elsewhere. */
export function measureJacobian(
  softmaxJacobian: RowFunction,
  x: FloatArray,
  k: number,
  format: Format,
): Worst {
  const rows = x.length / k;
  const jacobian = softmaxJacobian(x, { shape: [rows, k] });
  let worst = NOTHING_YET;
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * k, (r + 1) * k);
    const reference = jacobianReference(row);
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) {
        const actual = jacobian[(r * k + i) * k + j]!;
        const magnitude = i === j || Object.is(actual, 0) ? actual : -actual;
        const ulp = ulpError(magnitude, reference(i, j), format);
        if (ulp > worst.ulp) worst = { ulp, k, row, entry: [i, j], actual };
      }
    }
  }
  return worst;
}

/**
 * The worst entry of softmax of one row of k logits with few distinct ones, against 45 digits. Logit values[j] is
 * met in every column whose index is j modulo the number of values.
 */
export function measureAgainstDecimal(
  softmax: RowFunction,
  values: FloatArray,
  k: number,
  format: Format,
): Worst {
  const distinct = values.length;
  const x = format.array(k).map((_, column) => values[column % distinct]!);
  const y = softmax(x, { shape: [1, k] });
  const counts = Array.from(values, (_, j) => Math.ceil((k - j) / distinct));
  const reference = decimalSoftmaxReference(Array.from(values), counts);
  let worst = NOTHING_YET;
  for (let column = 0; column < k; column++) {
    const actual = y[column]!;
    const ulp = ulpError(actual, reference[column % distinct]!, format);
    if (ulp > worst.ulp) worst = { ulp, k, row: x, entry: [column], actual };
  }
  return worst;
}

/** The row, entry and result in full where they are short, for the message of a failing test. */
export function describeWorst(worst: Worst): string {
  const shown = Array.from(worst.row.subarray(0, 16), String).join(', ');
  const row = worst.row.length > 16 ? `${shown}, ...` : shown;
  const at = worst.entry.map((index) => `[${index}]`).join('');
  const logit = worst.row[worst.entry[0] ?? 0];
  return `${worst.ulp} ulp at ${at} = ${worst.actual} (logit ${logit}), k = ${worst.k}, row [${row}]`;
}
