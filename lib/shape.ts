// Shapes: sizes, the axis, and the (outer, k, inner) view that every operation works on.
//
// A row is the k elements along the axis, for fixed indices of the other dimensions. With `outer` the product of the
// sizes before the axis and `inner` of those after it, element j of row (o, i) lies at (o * k + j) * inner + i, so that
// no axis needs a transposed copy.
import { invalidType, outOfRange } from './errors.ts';

/** The sizes of an array, row-major: the last one varies fastest. */
export type Shape = readonly number[];

/** An array as rows along one axis. */
export interface Layout {
  readonly outer: number;
  /** The number of elements in a row. */
  readonly k: number;
  readonly inner: number;
  /** The axis, counted from the first dimension. */
  readonly axis: number;
  /** outer * inner */
  readonly rows: number;
  /** rows * k. Above Number.MAX_SAFE_INTEGER a count is inexact, but still above it, and no array has that many. */
  readonly elements: number;
}

/**
 * Checks a shape and an axis, and gives the layout. Without a shape there is one row of `length` elements.
 * Each size is read once: what a getter or a proxy says later has no part in the call.
 */
export function layoutOf(shape: unknown, axis: unknown, length: number): Layout {
  if (shape !== undefined) return layoutOfShape(shape, axis);
  const along = axis === undefined ? 0 : readAxis(axis, 1, ', as x is one row without a shape,');
  return { outer: 1, k: length, inner: 1, axis: along, rows: 1, elements: length };
}

function layoutOfShape(shape: unknown, axis: unknown): Layout {
  if (!Array.isArray(shape)) throw invalidType('an array of sizes', 'shape', shape);
  const rank = shape.length;
  if (rank === 0) throw outOfRange('at least one size', 'shape', shape);

  const along = readAxis(axis, rank);
  let outer = 1;
  let k = 1;
  let inner = 1;
  for (let dimension = 0; dimension < rank; dimension++) {
    const size = readSize(shape[dimension], dimension);
    if (dimension < along) outer = times(outer, size);
    else if (dimension === along) k = size;
    else inner = times(inner, size);
  }
  const rows = times(outer, inner);
  return { outer, k, inner, axis: along, rows, elements: times(rows, k) };
}

/** A checked shape for a result: -0 counts as 0 everywhere, and no result should show it, so that 0 is added. */
export function copyOf(shape: Shape): number[] {
  return shape.map((size) => size + 0);
}

export function isSameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, dimension) => size === b[dimension]);
}

/** A shape as error texts show it: [2, 3]. */
export function shapeText(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** A product of counts. 0 times a count that overflowed to Infinity is 0, not NaN. */
export function times(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : a * b;
}

/** Checks a shape that is not divided into rows, and copies it: each size is read once. [] is one element. */
export function readShape(shape: unknown): number[] {
  if (!Array.isArray(shape)) throw invalidType('an array of sizes', 'shape', shape);
  return Array.from(shape as unknown[], (size, dimension) => readSize(size, dimension) + 0);
}

/** The number of elements of a checked shape, as inexact as that of a layout. */
export function productOf(shape: Shape): number {
  return shape.reduce(times, 1);
}

function readSize(size: unknown, dimension: number): number {
  if (typeof size !== 'number') throw invalidType('an integer', `shape[${dimension}]`, size);
  if (!Number.isSafeInteger(size) || size < 0) {
    throw outOfRange('a safe integer of at least 0', `shape[${dimension}]`, size);
  }
  return size;
}

function readAxis(axis: unknown, rank: number, why = ''): number {
  if (axis === undefined) return rank - 1;
  if (typeof axis !== 'number') throw invalidType('an integer', 'axis', axis);
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
    throw outOfRange(`an integer from ${-rank} to ${rank - 1}${why}`, 'axis', axis);
  }
  return axis < 0 ? axis + rank : axis;
}
