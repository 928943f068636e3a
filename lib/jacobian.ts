// softmaxJacobian: the derivatives of a row's probabilities by its logits, J_ij = p_i * (delta_ij - p_j).
import { allocate, checkInput, checkOutput, floatTypeOf, lengthOf, type FloatType } from './arrays.ts';
import { native, type FloatArray } from './binding.ts';
import type { HostCall } from './choosing.ts';
import { jacobianOnCpu } from './cpu.ts';
import { outOfRange } from './errors.ts';
import { onCuda } from './gpus.ts';
import { readInput, readOut, resultLike, type Input, type Like, type Logits, type OutFor } from './input.ts';
import { callOptions, namesOf, readOptions, type CallOptions, type Names, type Options } from './options.ts';
import { computeOnGpu, mayUseGpu, readDevice, type Place } from './placement.ts';
import { layoutOf, times, type Layout } from './shape.ts';
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

/** The options of {@link softmaxJacobian}. */
export interface SoftmaxJacobianOptions<Out = undefined> extends CallOptions {
  /**
   * Where the Jacobians are written: an array of x's element type (Float64Array for plain numbers) with at least
   * rows * k * k elements, or an object whose `data` is one if x is such an object. Elements past the end are left as
   * they are. It may not overlap x. For a tensor it is a tensor of the result's shape and x's element type.
   */
  out?: Out;
}

/** A result of softmaxJacobian in the form of x: plain numbers get one more level of rows. */
export type JacobianLike<X> = X extends readonly (readonly number[])[]
  ? number[][][]
  : X extends readonly number[]
    ? number[][]
    : Like<X>;

/**
 * The Jacobian of softmax for every row along the last axis: J_ij = dp_i / dx_j = p_i * (delta_ij - p_j), where p is
 * the row's softmax (C. M. Bishop, Pattern Recognition and Machine Learning, 2006, equation 4.106). Entries are within
 * 4 ulp of the exact ones, and 0 below the smallest normal number (2**-126 in float32, 2**-1022 in float64). The
 * diagonal is p_i times the sum of the other probabilities, so that it keeps its digits where p_i is close to 1.
 *
 * A row whose softmax is NaN has a Jacobian of NaN. A matrix is symmetric to the bit; its rows and
 * columns sum to 0 but for rounding.
 *
 * @param x - logits of shape (..., k), as softmax takes them
 * @returns the Jacobians, (..., k, k), row-major: `out` where it is given, else a new result of the same form as x. For
 *   number[][] these are matrices of number[][]; for number[] it is one matrix, or with a `shape` of several rows the
 *   rows of all matrices one after another.
 * @throws as softmax does; RangeError `ERR_OUT_OF_RANGE` for an `axis` other than the last; RangeError
 *   `ERR_OUT_OF_MEMORY` also where rows * k * k entries cannot be allocated, and `ERR_OVERLAP` for any `out` that
 *   overlaps x
 *
 * @example
 * ```ts
 * import { softmaxJacobian } from 'softmax-native';
 *
 * softmaxJacobian([0, 0]);
 * // => [[0.25, -0.25], [-0.25, 0.25]]
 *
 * softmaxJacobian(Float32Array.of(1, 1, 1, 1, 2, -Infinity), { shape: [3, 2] });
 * // => Float32Array(12) [0.25, -0.25, -0.25, 0.25, 0.25, -0.25, -0.25, 0.25, 0, 0, 0, 0]
 * ```
 */
export function softmaxJacobian<X extends Logits>(x: X, options?: SoftmaxJacobianOptions): JacobianLike<X>;
/** The Jacobian of softmax for every row along the last axis, written to `out`, which is returned. */
export function softmaxJacobian<X extends Logits, Out extends OutFor<X>>(
  x: X,
  options: SoftmaxJacobianOptions<Out> & { out: Out },
): Out;
/** The Jacobian of softmax for every row along the last axis, written to `out` where there is one. */
export function softmaxJacobian<X extends Logits, Out extends OutFor<X>>(
  x: X,
  options: SoftmaxJacobianOptions<Out | undefined>,
): JacobianLike<X> | Out;
export function softmaxJacobian(x: unknown, options?: unknown): unknown {
  const given = readOptions(options, jacobianOptions);
  const type = floatTypeOf(x);
  if (type === undefined && isDeviceTensor(x)) return jacobianOfTensor(x, given);
  return computeJacobian(readJacobian(x, type, given));
}

/** The names of softmaxJacobian's options; an axis may be named if it is the last one. */
export const jacobianOptions: Names = namesOf(...callOptions, 'axis', 'out');

/** A call on arrays of the host, whose arguments are checked. */
export interface JacobianCall {
  readonly input: Input;
  readonly layout: Layout;
  /** Of all Jacobians. */
  readonly entries: number;
  readonly place: Place;
  readonly threads: number;
  /** What the caller gave, and the array that it stands for. */
  readonly out: unknown;
  readonly target: FloatArray | undefined;
}

/** @param type - what floatTypeOf says of x, which is no tensor */
export function readJacobian(x: unknown, type: FloatType | undefined, options: Options): JacobianCall {
  const { shape, axis, out, threads, device } = options;
  const threadCount = readThreads(threads);
  const place = readDevice(device);
  const input = readInput(x, type, shape);
  const layout = layoutOf(input.shape, axis, lengthOf(input.data));
  checkLastAxis(layout, Array.isArray(input.shape) ? input.shape.length : 1, axis);
  const target = out === undefined ? undefined : readOut(out, input, layout.k);

  // No getter of the caller's runs from here on.
  const entries = times(layout.elements, layout.k);
  checkInput(input.data, layout.elements, input.shape);
  if (target !== undefined) checkOutput(target, entries, 'out');
  return { input, layout, entries, place, threads: threadCount, out, target };
}

export function computeJacobian(call: JacobianCall): unknown {
  const { input, layout, entries, place, threads, out, target } = call;
  const result = target ?? allocateJacobians(input.type, layout);
  native(); // throws where there is none, for no elements too
  const onGpu = mayUseGpu(place, entries) && jacobianOnGpu(place, input.data, result, layout, threads);
  if (entries > 0 && !onGpu) jacobianOnCpu(input, result, target === undefined, layout, threads);
  return out === undefined ? resultLike(input, result, layout.k) : out;
}

export function allocateJacobians(type: FloatType, { rows, k, elements }: Layout): FloatArray {
  return allocate(type, times(elements, k), `the Jacobian of ${rows} x ${k} logits`);
}

/** False where the CPU is to compute it. */
function jacobianOnGpu(
  place: Place,
  x: FloatArray,
  result: FloatArray,
  layout: Layout,
  threads: number,
): boolean {
  const { rows, k } = layout;
  return computeOnGpu(place, jacobianHostCall(x, result, layout, threads), (cuda, gpu) =>
    cuda.softmaxJacobian(gpu, x, result, rows, k),
  );
}

export function jacobianHostCall(
  x: FloatArray,
  result: FloatArray,
  { rows, k }: Layout,
  threads: number,
): HostCall {
  return { operation: 'softmaxJacobian', rows, k, contiguous: true, threads, x, result };
}

export function jacobianOfTensor(tensor: DeviceTensor<Dtype>, options: Options): DeviceTensor {
  const { shape, axis, out, threads, device } = options;
  readThreads(threads);
  const { x, layout } = readTensorInput(tensor, shape, axis, device);
  checkLastAxis(layout, x.shape.length, axis);
  const { k } = layout;
  const sizes = [...x.shape, k];
  const target = readTensorOut(out, x, x.dtype, sizes, 'out');

  // No getter of the caller's runs from here on.
  const from = memoryOf(x, 'x');
  const result = target ?? emptyTensor(gpuOf(x), x.dtype, sizes);
  const to = memoryOf(result, 'out');
  return unlessItFails(target === undefined ? [result] : [], () => {
    if (x.length > 0) {
      onCuda((cuda) => cuda.tensorSoftmaxJacobian(from, to, codeOf(x.dtype), layout.rows, k));
    }
    return result;
  });
}

function checkLastAxis(layout: Layout, rank: number, axis: unknown): void {
  if (layout.axis !== rank - 1) throw outOfRange('the last axis, -1,', 'axis', axis);
}
