// rowMax: the largest element of every row, and where it is.
import { types } from 'node:util';
import { allocate, allocated, checkInput, checkOutput, isSameType, typeNameOf } from './arrays.ts';
import { native, type FloatArray } from './binding.ts';
import { invalidType, outOfRange } from './errors.ts';
import { readInput, type ElementArray, type Input, type Logits, type Writable } from './input.ts';
import { readOptions, type CallOptions } from './options.ts';
import { copyOf, layoutOf, rowsOf, type Layout, type Shape } from './shape.ts';
import { readThreads } from './threads.ts';

export interface RowMaxOptions<Out = undefined> extends CallOptions {
  /** The dimension along which the elements of a row lie, from -rank to rank - 1; -1, the last, is the default. */
  axis?: number | undefined;
  /** Keep the axis in the result's shape, with size 1. False is the default. */
  keepdims?: boolean | undefined;
  /**
   * Where the results are written: `max` an array of x's element type (Float64Array for plain numbers), `argmax` an
   * Int32Array, each with at least an element for every row. Either may be left out, and none may overlap x or the
   * other.
   */
  out?: Out;
}

/** What `out` may be for rowMax. */
export interface RowMaxOut<Max = FloatArray, Argmax = Int32Array> {
  readonly max?: Max | undefined;
  readonly argmax?: Argmax | undefined;
}

/** The largest element of every row and its index in the row, in the order of `shape`. */
export interface RowMax<Max = FloatArray, Argmax = Int32Array> {
  max: Max;
  argmax: Argmax;
  /** The shape of x without the axis, or with size 1 for it. */
  shape: number[];
}

/** Indices are 32-bit integers. */
const longestRow = 2 ** 31 - 1;

/**
 * The largest element of every row of x along an axis, and its index: max = max_j x_j, argmax = min { j : x_j = max }.
 * It is the reference that the usual way of computing softmax subtracts (P. Blanchard, D. J. Higham, N. J. Higham,
 * Accurately computing the log-sum-exp and softmax functions, 2021), and argmax the class that a classifier picks.
 *
 * NaN counts as larger than every number: a row with one gives NaN and the index of the first. Among equal elements,
 * and -0 and 0 are equal, the first one counts. An empty row gives -Infinity and -1.
 *
 * @param x - logits, as softmax takes them; a row has at most 2**31 - 1 elements
 * @returns max, of x's element type (Float64Array for plain numbers), argmax, an Int32Array, and the shape of both. The
 *   arrays are those of `out` where it has them, else new ones.
 * @throws as softmax does; RangeError `ERR_OUT_OF_RANGE` also for rows of more elements, and `ERR_OVERLAP` where an
 *   array of `out` overlaps x or the other one
 *
 * @example
 * ```ts
 * import { rowMax } from 'softmax-native';
 *
 * const logits = Float32Array.of(1, 5, 2, 7, 3, 7);
 * rowMax(logits, { shape: [2, 3] });
 * // => { max: Float32Array(2) [5, 7], argmax: Int32Array(2) [1, 0], shape: [2] }
 *
 * rowMax(logits, { shape: [2, 3], axis: 0, keepdims: true });
 * // => { max: Float32Array(3) [7, 5, 7], argmax: Int32Array(3) [1, 0, 1], shape: [1, 3] }
 * ```
 */
export function rowMax<X extends Logits>(
  x: X,
  options?: RowMaxOptions,
): RowMax<ElementArray<X>, Int32Array<ArrayBuffer>>;
/** The largest element of every row of x along an axis, and its index, written to the arrays that `out` has. */
export function rowMax<
  X extends Logits,
  Max extends Writable<X> = ElementArray<X>,
  Argmax extends Int32Array = Int32Array<ArrayBuffer>,
>(x: X, options: RowMaxOptions<RowMaxOut<Max, Argmax> | undefined>): RowMax<Max, Argmax>;
export function rowMax(x: unknown, options?: unknown): RowMax {
  const { shape, axis, keepdims, out, threads } = readOptions(options);
  const threadCount = readThreads(threads);
  if (keepdims !== undefined && typeof keepdims !== 'boolean')
    throw invalidType('a boolean', 'keepdims', keepdims);
  const input = readInput(x, shape);
  const layout = layoutOf(input.shape, axis, input.data.length);
  const target = readTarget(out, input.data);

  // No getter of the caller's runs from here on.
  checkInput(input.data, layout, input.shape);
  if (layout.k > longestRow) throw outOfRange(`at most ${longestRow} elements in a row`, 'x', layout.k);
  const rows = rowsOf(layout);
  if (target.max !== undefined) checkOutput(target.max, rows, 'out.max');
  if (target.argmax !== undefined) checkOutput(target.argmax, rows, 'out.argmax');
  const max = target.max ?? allocate(input.data, rows, 'max');
  const argmax = target.argmax ?? allocated(Int32Array, rows, 'argmax');
  const library = native();
  if (rows > 0) library.rowMax(input.data, max, argmax, layout.outer, layout.k, layout.inner, threadCount);
  return { max, argmax, shape: reducedShape(input, layout, keepdims === true) };
}

function readTarget(
  out: unknown,
  x: FloatArray,
): { max: FloatArray | undefined; argmax: Int32Array | undefined } {
  if (out === undefined) return { max: undefined, argmax: undefined };
  if (typeof out !== 'object' || out === null || types.isTypedArray(out)) {
    throw invalidType('an object { max, argmax }', 'out', out);
  }
  const { max, argmax } = out as Record<string, unknown>;
  if (max !== undefined && !isSameType(max, x)) throw invalidType(typeNameOf(x), 'out.max', max);
  if (argmax !== undefined && !types.isInt32Array(argmax))
    throw invalidType('Int32Array', 'out.argmax', argmax);
  return { max, argmax };
}

function reducedShape(input: Input, layout: Layout, keepdims: boolean): number[] {
  const shape = copyOf((input.shape as Shape | undefined) ?? [layout.k]);
  if (keepdims) shape[layout.axis] = 1;
  else shape.splice(layout.axis, 1);
  return shape;
}
