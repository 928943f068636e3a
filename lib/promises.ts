// softmax-native/promises: the functions of softmax-native as promises. They compute on threads of their own, so that the
// event loop goes on.
import { allocate, allocateIndices, checkOutput, floatTypeOf } from './arrays.ts';
import {
  backgroundOptions,
  compute,
  computeOnTensor,
  finished,
  isForGpu,
  isQuick,
  readBackground,
  throwIfAborted,
  type Background,
  type BackgroundOptions,
} from './background.ts';
import { native, type FloatArray } from './binding.ts';
import { resultLike, type ElementArray, type IndexArray, type Like, type Logits } from './input.ts';
import type { OutFor, Writable } from './input.ts';
import {
  allocateJacobians,
  computeJacobian,
  jacobianHostCall,
  jacobianOfTensor,
  jacobianOptions,
  readJacobian,
  type JacobianCall,
  type JacobianLike,
  type SoftmaxJacobianOptions,
} from './jacobian.ts';
import { copyInput, copyResult, isPrivate, isShared, stableInput } from './jobMemory.ts';
import { namesOf, readOptions } from './options.ts';
import { byCost } from './placement.ts';
import {
  computeRowMax,
  readRowMax,
  rowMaxHostCall,
  rowMaxOfTensor,
  rowMaxOptions,
  type RowMax,
  type RowMaxCall,
  type RowMaxOptions,
  type RowMaxOut,
} from './rowMax.ts';
import {
  computeSoftmax,
  readSoftmax,
  softmaxHostCall,
  softmaxOfTensor,
  softmaxOptions,
  type SoftmaxCall,
  type SoftmaxOptions,
} from './softmax.ts';
import { isDeviceTensor } from './tensor.ts';

export type { BackgroundOptions } from './background.ts';
export type { Signal } from './jobs.ts';
export { jacobianRows, type JacobianChunk, type JacobianRowsOptions } from './jacobianRows.ts';

/** The names of each function's options. */
const inBackground = {
  softmax: namesOf(...softmaxOptions.all, ...backgroundOptions),
  rowMax: namesOf(...rowMaxOptions.all, ...backgroundOptions),
  softmaxJacobian: namesOf(...jacobianOptions.all, ...backgroundOptions),
};

/**
 * As `softmax` of softmax-native, in the background: the event loop goes on while threads of this package compute, and
 * the bits are the same. Every error is a rejection.
 *
 * The result is that of x at the time of the call, and the program may do with the arrays what it likes: x is copied when
 * the call is made, and the result is copied to `out` at the end, unless `out` has been detached or has shrunk, which
 * rejects the promise with `ERR_DETACHED` or `ERR_SHAPE_MISMATCH`. These copies are made on the calling thread, at the
 * speed of memory. Without them: arrays over a SharedArrayBuffer are used where they are (what is written to x while the
 * call computes, or read from `out`, is then the program's own affair), and with `transfer` the memory of x is handed
 * over. Calls whose x, or whose Jacobians, have up to 64 KB are computed at once, which takes less time than to hand them
 * to another thread.
 *
 * A tensor's promise is kept when its GPU has computed it.
 *
 * @throws as the synchronous function does, and AbortError `ABORT_ERR`
 *
 * @example
 * ```ts
 * import { softmax } from 'softmax-native/promises';
 *
 * const logits = Float32Array.of(1, 1, 1, 1, 0, 0, -Infinity, -Infinity);
 * const probabilities = softmax(logits, { shape: [2, 4] });
 * logits.fill(0); // changes nothing about them
 * await probabilities;
 * // => Float32Array(8) [0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 0, 0]
 * ```
 */
export async function softmax<X extends Logits>(
  x: X,
  options?: SoftmaxOptions & BackgroundOptions,
): Promise<Like<X>>;
/** Softmax of every row of x along an axis in the background, written to `out`, which the promise gives. */
export async function softmax<X extends Logits, Out extends OutFor<X>>(
  x: X,
  options: SoftmaxOptions<Out> & BackgroundOptions & { out: Out },
): Promise<Out>;
/** Softmax of every row of x along an axis in the background, written to `out` where there is one. */
export async function softmax<X extends Logits, Out extends OutFor<X>>(
  x: X,
  options: SoftmaxOptions<Out | undefined> & BackgroundOptions,
): Promise<Like<X> | Out>;
export async function softmax(x: unknown, options?: unknown): Promise<unknown> {
  const given = readOptions(options, inBackground.softmax);
  const background = readBackground(given);
  throwIfAborted(background);
  if (isDeviceTensor(x)) {
    return computeOnTensor(x, background, x.length, () => softmaxOfTensor(x, given));
  }
  const call = readSoftmax(x, floatTypeOf(x), given);
  const total = call.layout.elements;
  const result = isQuick(call.place, total, call.input.data, background)
    ? computeSoftmax(call)
    : await softmaxByJob(call, background);
  return finished(background, total, result);
}

async function softmaxByJob(call: SoftmaxCall, background: Background): Promise<unknown> {
  const { input, layout, place, threads, out, target } = call;
  const { outer, k, inner, elements } = layout;
  native().jobs.checkSoftmax(input.data, target ?? input.data, outer, k, inner);
  const forGpu = isForGpu(
    place,
    elements,
    softmaxHostCall(input.data, target ?? input.data, layout, threads),
  );
  const isInPlace = !(forGpu && place === byCost); // where the GPU fails the CPU needs the logits as they were
  const outStays = target !== undefined && isShared(target);
  const takesInput = isInPlace && isPrivate(input, background.transfer);
  // What may fail for want of memory comes before x is handed over.
  const own = outStays ? target : takesInput ? undefined : allocate(input.type, elements, 'the result');
  const stable = stableInput(input, background.transfer, [target]);
  const result = own ?? stable!;
  const from = stable ?? copyInput(input.data, isInPlace ? result : allocate(input.type, elements, 'x'));

  await compute(place, forGpu, softmaxHostCall(from, result, layout, threads), background, elements, {
    cuda: (jobs, gpu) => jobs.cudaSoftmax(gpu, from, result, outer, k, inner),
    cpu: (jobs) => jobs.softmax(from, result, outer, k, inner, threads, !outStays && from !== result),
  });
  if (target === undefined) return resultLike(input, result);
  if (!outStays) copyResult(result, target, 'out');
  return out;
}

/**
 * As `rowMax` of softmax-native, in the background, with the memory rules of {@link softmax}.
 *
 * @throws as the synchronous function does, and AbortError `ABORT_ERR`
 *
 * @example
 * ```ts
 * import { rowMax } from 'softmax-native/promises';
 *
 * const logits = Float32Array.of(1, 5, 2, 7, 3, 7);
 * await rowMax(logits, { shape: [2, 3] });
 * // => { max: Float32Array(2) [5, 7], argmax: Int32Array(2) [1, 0], shape: [2] }
 * ```
 */
export async function rowMax<X extends Logits>(
  x: X,
  options?: RowMaxOptions & BackgroundOptions,
): Promise<RowMax<ElementArray<X>, IndexArray<X>>>;
/** The largest element of every row of x and its index, in the background, written to the arrays that `out` has. */
export async function rowMax<
  X extends Logits,
  Max extends Writable<X> = ElementArray<X>,
  Argmax extends IndexArray<X, ArrayBufferLike> = IndexArray<X>,
>(
  x: X,
  options: RowMaxOptions<RowMaxOut<Max, Argmax> | undefined> & BackgroundOptions,
): Promise<RowMax<Max, Argmax>>;
export async function rowMax(x: unknown, options?: unknown): Promise<RowMax<unknown, unknown>> {
  const given = readOptions(options, inBackground.rowMax);
  const background = readBackground(given);
  throwIfAborted(background);
  if (isDeviceTensor(x)) {
    return computeOnTensor(x, background, x.length, () => rowMaxOfTensor(x, given));
  }
  const call = readRowMax(x, floatTypeOf(x), given);
  const total = call.layout.elements;
  const result = isQuick(call.place, total, call.input.data, background)
    ? computeRowMax(call)
    : await rowMaxByJob(call, background);
  return finished(background, total, result);
}

async function rowMaxByJob(call: RowMaxCall, background: Background): Promise<RowMax> {
  const { input, layout, shape, place, threads, target } = call;
  const { outer, k, inner, rows, elements } = layout;
  const ownMax = (): FloatArray => allocate(input.type, rows, 'max');
  const ownArgmax = (): Int32Array => allocateIndices(rows, 'argmax');
  const max = target.max !== undefined && isShared(target.max) ? target.max : ownMax();
  const argmax = target.argmax !== undefined && isShared(target.argmax) ? target.argmax : ownArgmax();
  native().jobs.checkRowMax(input.data, target.max ?? max, target.argmax ?? argmax, outer, k, inner);
  const forGpu = isForGpu(place, elements, rowMaxHostCall(input.data, max, layout, threads));
  const stable = stableInput(input, background.transfer, [target.max, target.argmax]);
  const from = stable ?? copyInput(input.data, allocate(input.type, elements, 'x'));

  await compute(place, forGpu, rowMaxHostCall(from, max, layout, threads), background, elements, {
    cuda: (jobs, gpu) => jobs.cudaRowMax(gpu, from, max, argmax, outer, k, inner),
    cpu: (jobs) => jobs.rowMax(from, max, argmax, outer, k, inner, threads),
  });
  // Both are looked at before either is written.
  if (target.max !== undefined) checkOutput(target.max, rows, 'out.max');
  if (target.argmax !== undefined) checkOutput(target.argmax, rows, 'out.argmax');
  if (target.max !== undefined && target.max !== max) copyResult(max, target.max, 'out.max');
  if (target.argmax !== undefined && target.argmax !== argmax) {
    copyResult(argmax, target.argmax, 'out.argmax');
  }
  return { max: target.max ?? max, argmax: target.argmax ?? argmax, shape };
}

/**
 * As `softmaxJacobian` of softmax-native, in the background, with the memory rules of {@link softmax}. For
 * Jacobians that do not fit in memory together see {@link jacobianRows}.
 *
 * @throws as the synchronous function does, and AbortError `ABORT_ERR`
 *
 * @example
 * ```ts
 * import { softmaxJacobian } from 'softmax-native/promises';
 *
 * await softmaxJacobian([0, 0]);
 * // => [[0.25, -0.25], [-0.25, 0.25]]
 * ```
 */
export async function softmaxJacobian<X extends Logits>(
  x: X,
  options?: SoftmaxJacobianOptions & BackgroundOptions,
): Promise<JacobianLike<X>>;
/** The Jacobian of softmax for every row in the background, written to `out`, which the promise gives. */
export async function softmaxJacobian<X extends Logits, Out extends OutFor<X>>(
  x: X,
  options: SoftmaxJacobianOptions<Out> & BackgroundOptions & { out: Out },
): Promise<Out>;
/** The Jacobian of softmax for every row in the background, written to `out` where there is one. */
export async function softmaxJacobian<X extends Logits, Out extends OutFor<X>>(
  x: X,
  options: SoftmaxJacobianOptions<Out | undefined> & BackgroundOptions,
): Promise<JacobianLike<X> | Out>;
export async function softmaxJacobian(x: unknown, options?: unknown): Promise<unknown> {
  const given = readOptions(options, inBackground.softmaxJacobian);
  const background = readBackground(given);
  throwIfAborted(background);
  if (isDeviceTensor(x)) {
    const entries = x.length * (x.shape.at(-1) ?? 0);
    return computeOnTensor(x, background, entries, () => jacobianOfTensor(x, given));
  }
  const call = readJacobian(x, floatTypeOf(x), given);
  const total = call.entries;
  const result = isQuick(call.place, total, call.input.data, background)
    ? computeJacobian(call)
    : await jacobianByJob(call, background);
  return finished(background, total, result);
}

async function jacobianByJob(call: JacobianCall, background: Background): Promise<unknown> {
  const { input, layout, entries, place, threads, out, target } = call;
  const { rows, k, elements } = layout;
  const outStays = target !== undefined && isShared(target);
  const result = outStays ? target : allocateJacobians(input.type, layout);
  native().jobs.checkSoftmaxJacobian(input.data, target ?? result, rows, k);
  const forGpu = isForGpu(place, entries, jacobianHostCall(input.data, result, layout, threads));
  const stable = stableInput(input, background.transfer, [target]);
  const from = stable ?? copyInput(input.data, allocate(input.type, elements, 'x'));

  await compute(place, forGpu, jacobianHostCall(from, result, layout, threads), background, entries, {
    cuda: (jobs, gpu) => jobs.cudaSoftmaxJacobian(gpu, from, result, rows, k),
    cpu: (jobs) => jobs.softmaxJacobian(from, result, rows, k, threads, !outStays),
  });
  if (target === undefined) return resultLike(input, result, k);
  if (!outStays) copyResult(result, target, 'out');
  return out;
}
