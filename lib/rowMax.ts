// rowMax: the largest element of every row, and where it is.
import { types } from 'node:util';
import {
  allocate,
  allocateIndices,
  checkInput,
  checkOutput,
  floatTypeOf,
  isOfType,
  lengthOf,
  type FloatType,
} from './arrays.ts';
import { native, type FloatArray } from './binding.ts';
import type { HostCall } from './choosing.ts';
import { rowMaxOnCpu } from './cpu.ts';
import { invalidType, outOfRange } from './errors.ts';
import { onCuda } from './gpus.ts';
import {
  readInput,
  type ElementArray,
  type IndexArray,
  type Input,
  type Logits,
  type Writable,
} from './input.ts';
import {
  callOptions,
  checkNames,
  namesOf,
  readOptions,
  type CallOptions,
  type Names,
  type Options,
} from './options.ts';
import { computeOnGpu, mayUseGpu, readDevice, type Place } from './placement.ts';
import { copyOf, layoutOf, type Layout, type Shape } from './shape.ts';
import {
  codeOf,
  emptyTensor,
  gpuOf,
  isDeviceTensor,
  memoryOf,
  unlessItFails,
  type DeviceTensor,
  type Dtype,
} from './tensor.ts';
import { readTensorInput, readTensorOut } from './tensorCall.ts';
import { readThreads } from './threads.ts';

/** The options of {@link rowMax}. */
export interface RowMaxOptions<Out = undefined> extends CallOptions {
  /** The dimension along which the elements of a row lie, from -rank to rank - 1; -1, the last, is the default. */
  axis?: number | undefined;
  /** Keep the axis in the result's shape, with size 1. False is the default. */
  keepdims?: boolean | undefined;
  /**
   * Where the results are written: `max` an array of x's element type (Float64Array for plain numbers), `argmax` an
   * Int32Array, each with at least an element for every row. Either may be left out, and none may overlap x or the
   * other. For a tensor they are tensors of the result's shape, `argmax` of int32.
   */
  out?: Out;
}

/** What `out` may be for rowMax. */
export interface RowMaxOut<Max = FloatArray, Argmax = Int32Array> {
  /** Where the largest elements are written. */
  readonly max?: Max | undefined;
  /** Where their indices are written. */
  readonly argmax?: Argmax | undefined;
}

/** The largest element of every row and its index in the row, in the order of `shape`. */
export interface RowMax<Max = FloatArray, Argmax = Int32Array> {
  /** The largest elements. */
  max: Max;
  /** Their indices in the rows. */
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
): RowMax<ElementArray<X>, IndexArray<X>>;
/** The largest element of every row of x along an axis, and its index, written to the arrays that `out` has. */
export function rowMax<
  X extends Logits,
  Max extends Writable<X> = ElementArray<X>,
  Argmax extends IndexArray<X, ArrayBufferLike> = IndexArray<X>,
>(x: X, options: RowMaxOptions<RowMaxOut<Max, Argmax> | undefined>): RowMax<Max, Argmax>;
export function rowMax(x: unknown, options?: unknown): RowMax<unknown, unknown> {
  const given = readOptions(options, rowMaxOptions);
  const type = floatTypeOf(x);
  if (type === undefined && isDeviceTensor(x)) return rowMaxOfTensor(x, given);
  return computeRowMax(readRowMax(x, type, given));
}

/** The names of rowMax's options. */
export const rowMaxOptions: Names = namesOf(...callOptions, 'axis', 'out', 'keepdims');

/** A call on arrays of the host, whose arguments are checked. */
export interface RowMaxCall {
  readonly input: Input;
  readonly layout: Layout;
  /** Of the result. */
  readonly shape: number[];
  readonly place: Place;
  readonly threads: number;
  readonly target: { readonly max: FloatArray | undefined; readonly argmax: Int32Array | undefined };
}

/** @param type - what floatTypeOf says of x, which is no tensor */
export function readRowMax(x: unknown, type: FloatType | undefined, options: Options): RowMaxCall {
  const { shape, axis, keepdims, out, threads, device } = options;
  const threadCount = readThreads(threads);
  const keeps = readKeepdims(keepdims);
  const place = readDevice(device);
  const input = readInput(x, type, shape);
  // A copy, as the result's shape is made of it when the caller's getters must not run any more.
  const sizes: unknown = Array.isArray(input.shape) ? [...(input.shape as unknown[])] : input.shape;
  const layout = layoutOf(sizes, axis, lengthOf(input.data));
  const target = readTarget(out, input.type);
  const reduced = reducedShape(sizes as Shape | undefined, layout, keeps);

  // No getter of the caller's runs from here on.
  checkInput(input.data, layout.elements, sizes);
  checkRowLength(layout);
  if (target.max !== undefined) checkOutput(target.max, layout.rows, 'out.max');
  if (target.argmax !== undefined) checkOutput(target.argmax, layout.rows, 'out.argmax');
  return { input, layout, shape: reduced, place, threads: threadCount, target };
}

export function computeRowMax(call: RowMaxCall): RowMax {
  const { input, layout, shape, place, threads, target } = call;
  const max = target.max ?? allocate(input.type, layout.rows, 'max');
  const argmax = target.argmax ?? allocateIndices(layout.rows, 'argmax');
  native(); // throws where there is none, for no elements too
  const onGpu =
    mayUseGpu(place, layout.elements) && rowMaxOnGpu(place, input.data, max, argmax, layout, threads);
  const areNew = target.max === undefined && target.argmax === undefined;
  if (layout.rows > 0 && !onGpu) rowMaxOnCpu(input, max, argmax, areNew, layout, threads);
  return { max, argmax, shape };
}

/** False where the CPU is to compute it. */
function rowMaxOnGpu(
  place: Place,
  x: FloatArray,
  max: FloatArray,
  argmax: Int32Array,
  layout: Layout,
  threads: number,
): boolean {
  const { outer, k, inner } = layout;
  return computeOnGpu(place, rowMaxHostCall(x, max, layout, threads), (cuda, gpu) =>
    cuda.rowMax(gpu, x, max, argmax, outer, k, inner),
  );
}

export function rowMaxHostCall(
  x: FloatArray,
  max: FloatArray,
  { rows, k, inner }: Layout,
  threads: number,
): HostCall {
  return { operation: 'rowMax', rows, k, contiguous: inner === 1, threads, x, result: max };
}

export function rowMaxOfTensor(
  tensor: DeviceTensor<Dtype>,
  options: Options,
): RowMax<DeviceTensor, DeviceTensor<'int32'>> {
  const { shape, axis, keepdims, out, threads, device } = options;
  readThreads(threads);
  const keeps = readKeepdims(keepdims);
  const { x, layout } = readTensorInput(tensor, shape, axis, device);
  checkRowLength(layout);
  const sizes = reducedShape(x.shape, layout, keeps);
  const pair = readPair(out);
  const given = {
    max: readTensorOut(pair.max, x, x.dtype, sizes, 'out.max'),
    argmax: readTensorOut(pair.argmax, x, 'int32', sizes, 'out.argmax'),
  };

  // No getter of the caller's runs from here on.
  const made: DeviceTensor<Dtype>[] = [];
  const make = <D extends Dtype>(dtype: D): DeviceTensor<D> => {
    const result = emptyTensor(gpuOf(x), dtype, copyOf(sizes));
    made.push(result);
    return result;
  };
  return unlessItFails(made, () => {
    const from = memoryOf(x, 'x');
    const max = given.max ?? make(x.dtype);
    const argmax = given.argmax ?? make('int32');
    const [toMax, toArgmax] = [memoryOf(max, 'out.max'), memoryOf(argmax, 'out.argmax')];
    const { outer, k, inner } = layout;
    if (max.length > 0) {
      onCuda((cuda) => cuda.tensorRowMax(from, toMax, toArgmax, codeOf(x.dtype), outer, k, inner));
    }
    return { max, argmax, shape: sizes };
  });
}

function readKeepdims(keepdims: unknown): boolean {
  if (keepdims !== undefined && typeof keepdims !== 'boolean') {
    throw invalidType('a boolean', 'keepdims', keepdims);
  }
  return keepdims === true;
}

function checkRowLength({ k }: Layout): void {
  if (k > longestRow) throw outOfRange(`at most ${longestRow} elements in a row`, 'x', k);
}

function readPair(out: unknown): { max?: unknown; argmax?: unknown } {
  if (out === undefined) return nothing;
  if (typeof out !== 'object' || out === null || Array.isArray(out)) throw noPair(out);
  const { max, argmax } = out as Record<string, unknown>;
  // Whoever has either is a pair, so that most calls need no look at what else it might be.
  if (max === undefined && argmax === undefined && (types.isTypedArray(out) || isDeviceTensor(out))) {
    throw noPair(out);
  }
  checkNames(out, pairNames, 'a property of out');
  return { max, argmax };
}

const nothing = Object.freeze({});

/** A result of before may be given as it is. */
const pairNames = namesOf('max', 'argmax', 'shape');

function noPair(out: unknown): Error {
  return invalidType('an object { max, argmax }', 'out', out);
}

function readTarget(
  out: unknown,
  type: FloatType,
): { max: FloatArray | undefined; argmax: Int32Array | undefined } {
  const { max, argmax } = readPair(out);
  if (max !== undefined && !isOfType(max, type)) throw invalidType(type, 'out.max', max);
  if (argmax !== undefined && !types.isInt32Array(argmax))
    throw invalidType('Int32Array', 'out.argmax', argmax);
  return { max, argmax };
}

function reducedShape(whole: Shape | undefined, layout: Layout, keepdims: boolean): number[] {
  const shape: number[] = [];
  const rank = whole === undefined ? 1 : whole.length;
  for (let dimension = 0; dimension < rank; dimension++) {
    if (dimension !== layout.axis) shape.push(whole![dimension]! + 0);
    else if (keepdims) shape.push(1);
  }
  return shape;
}
