// softmax: a row's elements as probabilities, y_j = exp(x_j) / sum_i exp(x_i).
import { allocate, checkInput, checkOutput, floatTypeOf, lengthOf, type FloatType } from './arrays.ts';
import { native, type FloatArray } from './binding.ts';
import type { HostCall } from './choosing.ts';
import { softmaxOnCpu } from './cpu.ts';
import { onCuda } from './gpus.ts';
import { readInput, readOut, resultLike, type Input, type Like, type Logits, type OutFor } from './input.ts';
import { callOptions, namesOf, readOptions, type CallOptions, type Names, type Options } from './options.ts';
import { computeOnGpu, mayUseGpu, readDevice, type Place } from './placement.ts';
import { copyOf, layoutOf, type Layout } from './shape.ts';
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

/** The options of {@link softmax}. */
export interface SoftmaxOptions<Out = undefined> extends CallOptions {
  /** The dimension along which the elements of a row lie, from -rank to rank - 1; -1, the last, is the default. */
  axis?: number | undefined;
  /**
   * Where the probabilities are written: an array of x's element type (Float64Array for plain numbers) with at least as
   * many elements, or an object whose `data` is one if x is such an object. Elements past the end are left as they are.
   * It may be x itself, but may not overlap it otherwise. For a tensor it is a tensor of x's shape and element type.
   */
  out?: Out;
}

/**
 * Softmax of every row of x along an axis: y_j = exp(x_j) / sum_i exp(x_i) (J. S. Bridle, Probabilistic interpretation
 * of feedforward classification network outputs, 1990). Nothing overflows, however large the logits are, and every
 * probability is within 2 ulp of the exact one; within 1 in every measurement so far.
 *
 * A row with NaN or +Infinity, or with -Infinity only, gives NaN. -Infinity beside other numbers gives 0, and so does
 * every probability below the smallest normal number (2**-126 in float32, 2**-1022 in float64). Empty rows stay empty.
 *
 * @param x - logits: Float32Array or Float64Array; number[] or number[][], computed in
 *   float64; { data, shape } or { data, dims } with a float array; or a float DeviceTensor
 * @returns the probabilities: `out` where it is given, else a new result of the same form and shape as x
 * @throws TypeError `ERR_INVALID_ARG_TYPE` for an argument of another type, `ERR_UNKNOWN_OPTION` for an option of another
 *   name, `ERR_DETACHED` for an array without memory;
 *   RangeError `ERR_OUT_OF_RANGE` for a size, axis or thread count outside its range, `ERR_SHAPE_MISMATCH` for a shape
 *   that is not x's, rows of different lengths or an `out` that is too small, `ERR_OVERLAP` for an `out` that overlaps
 *   x without being it, `ERR_OUT_OF_MEMORY`. Nothing is written where an argument is refused. With GPUs also Error
 *   `ERR_CUDA_UNAVAILABLE` for a `device` that cannot be used, TypeError `ERR_DISPOSED` for a tensor that was disposed
 *   of, and CudaError `ERR_CUDA`, after which what `out` holds is not known.
 *
 * @example
 * ```ts
 * import { softmax } from 'softmax-native';
 *
 * const logits = Float32Array.of(1, 1, 1, 1, 0, 0, -Infinity, -Infinity);
 * softmax(logits, { shape: [2, 4] });
 * // => Float32Array(8) [0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 0, 0]
 *
 * softmax([[1, 2, 3], [3, 3, 3]]);
 * // => [[0.09003057317038046, 0.24472847105479764, 0.6652409557748219], [1 / 3, 1 / 3, 1 / 3]]
 * ```
 */
export function softmax<X extends Logits>(x: X, options?: SoftmaxOptions): Like<X>;
/** Softmax of every row of x along an axis, written to `out`, which is returned. */
export function softmax<X extends Logits, Out extends OutFor<X>>(
  x: X,
  options: SoftmaxOptions<Out> & { out: Out },
): Out;
/** Softmax of every row of x along an axis, written to `out` where there is one. */
export function softmax<X extends Logits, Out extends OutFor<X>>(
  x: X,
  options: SoftmaxOptions<Out | undefined>,
): Like<X> | Out;
export function softmax(x: unknown, options?: unknown): unknown {
  const given = readOptions(options, softmaxOptions);
  const type = floatTypeOf(x);
  if (type === undefined && isDeviceTensor(x)) return softmaxOfTensor(x, given);
  return computeSoftmax(readSoftmax(x, type, given));
}

/** The names of softmax's options. */
export const softmaxOptions: Names = namesOf(...callOptions, 'axis', 'out');

/** A call on arrays of the host, whose arguments are checked. */
export interface SoftmaxCall {
  readonly input: Input;
  readonly layout: Layout;
  readonly place: Place;
  readonly threads: number;
  /** What the caller gave, and the array that it stands for. */
  readonly out: unknown;
  readonly target: FloatArray | undefined;
}

/** @param type - what floatTypeOf says of x, which is no tensor */
export function readSoftmax(x: unknown, type: FloatType | undefined, options: Options): SoftmaxCall {
  const { shape, axis, out, threads, device } = options;
  const threadCount = readThreads(threads);
  const place = readDevice(device);
  const input = readInput(x, type, shape);
  const layout = layoutOf(input.shape, axis, lengthOf(input.data));
  const target = out === undefined ? undefined : readOut(out, input);

  // No getter of the caller's runs from here on.
  checkInput(input.data, layout.elements, input.shape);
  if (target !== undefined) checkOutput(target, layout.elements, 'out');
  return { input, layout, place, threads: threadCount, out, target };
}

export function computeSoftmax({ input, layout, place, threads, out, target }: SoftmaxCall): unknown {
  const { elements } = layout;
  const result = target ?? allocate(input.type, elements, 'the result');
  native(); // throws where there is none, for no elements too
  const onGpu = mayUseGpu(place, elements) && softmaxOnGpu(place, input.data, result, layout, threads);
  if (elements > 0 && !onGpu) softmaxOnCpu(input, result, target === undefined, layout, threads);
  return out === undefined ? resultLike(input, result) : out;
}

/** False where the CPU is to compute it. */
function softmaxOnGpu(
  place: Place,
  x: FloatArray,
  result: FloatArray,
  layout: Layout,
  threads: number,
): boolean {
  const { outer, k, inner } = layout;
  return computeOnGpu(place, softmaxHostCall(x, result, layout, threads), (cuda, gpu) =>
    cuda.softmax(gpu, x, result, outer, k, inner),
  );
}

export function softmaxHostCall(
  x: FloatArray,
  result: FloatArray,
  { rows, k, inner }: Layout,
  threads: number,
): HostCall {
  return { operation: 'softmax', rows, k, contiguous: inner === 1, threads, x, result };
}

export function softmaxOfTensor(tensor: DeviceTensor<Dtype>, options: Options): DeviceTensor {
  const { shape, axis, out, threads, device } = options;
  readThreads(threads);
  const { x, layout } = readTensorInput(tensor, shape, axis, device);
  const target = readTensorOut(out, x, x.dtype, x.shape, 'out');

  // No getter of the caller's runs from here on.
  const from = memoryOf(x, 'x');
  const result = target ?? emptyTensor(gpuOf(x), x.dtype, copyOf(x.shape));
  const to = memoryOf(result, 'out');
  const { outer, k, inner } = layout;
  return unlessItFails(target === undefined ? [result] : [], () => {
    if (x.length > 0) onCuda((cuda) => cuda.tensorSoftmax(from, to, codeOf(x.dtype), outer, k, inner));
    return result;
  });
}
