// What softmax, rowMax and softmaxJacobian must give, by plain loops over every row: for tests of whole calls.
import { jacobianReference, softmaxReference } from './reference.ts';
import { FLOAT32, FLOAT64, ulpError, type FloatArray } from './ulp.ts';

/** The contract's bounds on the error, in ulp. */
const SOFTMAX_BOUND = 2;
const JACOBIAN_BOUND = 4;

/** The flat indices of each row along an axis; row (o, i) of the sizes before and after it is row o * inner + i. */
export function rowIndices(shape: readonly number[], axis: number): number[][] {
  const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);
  const outer = product(shape.slice(0, axis));
  const k = shape[axis]!;
  const inner = product(shape.slice(axis + 1));
  const rows: number[][] = [];
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) rows.push(Array.from({ length: k }, (_, j) => (o * k + j) * inner + i));
  }
  return rows;
}

/** Whether a row has no probabilities: NaN or +Infinity are in it, or nothing but -Infinity. */
function isUndefined(row: readonly number[]): boolean {
  return (
    row.some((value) => Number.isNaN(value) || value === Infinity) ||
    row.every((value) => value === -Infinity)
  );
}

type Complaint = string | undefined;

export function checkSoftmax(
  x: FloatArray,
  y: FloatArray,
  shape: readonly number[],
  axis: number,
): Complaint {
  const format = x.BYTES_PER_ELEMENT === 4 ? FLOAT32 : FLOAT64;
  for (const indices of rowIndices(shape, axis)) {
    const row = indices.map((index) => x[index]!);
    if (row.length === 0) continue;
    const reference = isUndefined(row) ? undefined : softmaxReference(row);
    for (const [j, index] of indices.entries()) {
      const actual = y[index]!;
      const isRight =
        reference === undefined
          ? Number.isNaN(actual)
          : ulpError(actual, reference[j]!, format) <= SOFTMAX_BOUND;
      if (!isRight) return `probability [${index}] is ${actual} for the row ${row.join(', ')}`;
    }
  }
  return undefined;
}

export function checkRowMax(
  x: FloatArray,
  [max, argmax]: readonly [ArrayLike<number>, ArrayLike<number>],
  shape: readonly number[],
  axis: number,
): Complaint {
  for (const [r, indices] of rowIndices(shape, axis).entries()) {
    let best = -1;
    for (const [j, index] of indices.entries()) {
      const largest = best < 0 ? -Infinity : x[indices[best]!]!;
      if (best < 0 || (!Number.isNaN(largest) && !(x[index]! <= largest))) best = j;
    }
    const expected = best < 0 ? -Infinity : x[indices[best]!]!;
    // The sign of a zero counts too.
    if (!Object.is(max[r], expected) || argmax[r] !== best)
      return `row ${r} has ${max[r]} at ${argmax[r]}, not ${expected} at ${best}`;
  }
  return undefined;
}

export function checkJacobian(x: FloatArray, jacobian: FloatArray, shape: readonly number[]): Complaint {
  const format = x.BYTES_PER_ELEMENT === 4 ? FLOAT32 : FLOAT64;
  for (const [r, indices] of rowIndices(shape, shape.length - 1).entries()) {
    const row = indices.map((index) => x[index]!);
    const k = row.length;
    const reference = k === 0 || isUndefined(row) ? undefined : jacobianReference(row);
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) {
        const actual = jacobian[(r * k + i) * k + j]!;
        // Entries are positive on the diagonal, negative elsewhere, and +0 where they are nothing.
        const magnitude = i === j || Object.is(actual, 0) ? actual : -actual;
        const isRight =
          reference === undefined
            ? Number.isNaN(actual)
            : ulpError(magnitude, reference(i, j), format) <= JACOBIAN_BOUND;
        if (!isRight) return `entry (${i}, ${j}) of row ${r} is ${actual} for the row ${row.join(', ')}`;
      }
    }
  }
  return undefined;
}
