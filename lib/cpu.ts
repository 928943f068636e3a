// Calls on the CPU. Arrays are read and written where they are, unless they have only a few elements. For native code to
// find an array takes as long as to copy 20 to 50 elements; a new array of 64 bytes or less lies in the JavaScript
// engine's heap, and to give it memory that native code can find takes ten times as long. So a few elements are copied
// to and from a buffer that native code knows.
//
// It makes no difference to results or errors: where arrays may overlap, native code, which sees that, gets them.
import { bufferOf, byteOffsetOf, type FloatType } from './arrays.ts';
import { native, type FloatArray, type NativeSmallCalls } from './binding.ts';
import type { Input } from './input.ts';
import type { Layout } from './shape.ts';

/**
 * The most elements that are copied: of x, or of the Jacobian. With more, a call on an `out` that is used again takes
 * longer than without copies.
 */
export const few = { softmax: 32, rowMax: 64, softmaxJacobian: 64 };

/** The most rows whose new maxima and indices lie in the JavaScript engine's heap. */
export const fewRows = 16;

/** Softmax of x, written to `out`, which is new or was checked to have room. */
export function softmaxOnCpu(
  { data, type }: Input,
  out: FloatArray,
  isNew: boolean,
  layout: Layout,
  threads: number,
): void {
  const { outer, k, inner, elements } = layout;
  // Arrays that start at the same place of their buffers are apart, or `out` starts where x starts.
  const isSafe = isNew || byteOffsetOf(data) === byteOffsetOf(out) || areApart(data, out);
  if (elements <= few.softmax && isSafe) {
    putLogits(data, type, layout).softmax();
    takeResults(out, type, elements);
  } else {
    native().softmax(data, out, outer, k, inner, threads, isNew);
  }
}

/** The maxima of rows of x and their indices, written to arrays that are new, both, or were checked to have room. */
export function rowMaxOnCpu(
  { data, type }: Input,
  max: FloatArray,
  argmax: Int32Array,
  areNew: boolean,
  layout: Layout,
  threads: number,
): void {
  const { outer, k, inner, rows, elements } = layout;
  const isSmall = elements <= few.rowMax && rows <= few.rowMax;
  if (isSmall && (areNew || areApart(data, max, argmax))) {
    putLogits(data, type, layout).rowMax();
  } else if (areNew && rows <= fewRows) {
    const { results32, results64, indices } = small();
    native().rowMax(data, type === 'Float32Array' ? results32 : results64, indices, outer, k, inner, threads);
  } else {
    native().rowMax(data, max, argmax, outer, k, inner, threads);
    return;
  }
  takeResults(max, type, rows);
  const { indices } = small();
  for (let row = 0; row < rows; row++) argmax[row] = indices[row]!;
}

/** The Jacobians of rows of x, written to `out`, which is new or was checked to have room. */
export function jacobianOnCpu(
  { data, type }: Input,
  out: FloatArray,
  isNew: boolean,
  layout: Layout,
  threads: number,
): void {
  const { k, rows, elements } = layout;
  const entries = elements * k;
  if (entries <= few.softmaxJacobian && (isNew || areApart(data, out))) {
    putLogits(data, type, layout).softmaxJacobian();
    takeResults(out, type, entries);
  } else {
    native().softmaxJacobian(data, out, rows, k, threads, isNew);
  }
}

/**
 * Whether arrays are known to share no memory. Two SharedArrayBuffer objects may stand for one memory, and so those, and
 * the buffers of another realm, are left to native code, which compares addresses.
 */
function areApart(x: FloatArray, out: FloatArray, indices?: Int32Array): boolean {
  const a = bufferOf(x);
  const b = bufferOf(out);
  if (a === b || !(a instanceof ArrayBuffer)) return false;
  if (indices === undefined) return true;
  const c = bufferOf(indices);
  return a !== c && b !== c && b instanceof ArrayBuffer;
}

let smallCalls: NativeSmallCalls | undefined;

function small(): NativeSmallCalls {
  return (smallCalls ??= native().small);
}

function putLogits(x: FloatArray, type: FloatType, layout: Layout): NativeSmallCalls {
  const calls = small();
  const { sizes } = calls;
  sizes[0] = layout.outer;
  sizes[1] = layout.k;
  sizes[2] = layout.inner;
  if (type === 'Float32Array') {
    sizes[3] = 0;
    copy32(x as Float32Array, calls.logits32, layout.elements);
  } else {
    sizes[3] = 1;
    copy64(x as Float64Array, calls.logits64, layout.elements);
  }
  return calls;
}

function takeResults(out: FloatArray, type: FloatType, count: number): void {
  if (type === 'Float32Array') copy32(small().results32, out as Float32Array, count);
  else copy64(small().results64, out as Float64Array, count);
}

// One function for each type, so that the compiler knows it.

function copy32(from: Float32Array, to: Float32Array, count: number): void {
  for (let i = 0; i < count; i++) to[i] = from[i]!;
}

function copy64(from: Float64Array, to: Float64Array, count: number): void {
  for (let i = 0; i < count; i++) to[i] = from[i]!;
}
