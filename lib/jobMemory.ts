// The memory that a job works on while JavaScript goes on. A buffer that other code can reach may be detached, resized or
// written to meanwhile, and Node-API has no means against it. So a job gets memory that stays as it is:
//
//   shared memory             itself, as it cannot be detached
//   a copy of x               made when the call is made, so that the result is that of x at this time
//   x, handed over            detached from what the program holds
//   a new result              which nobody else sees before the call has ended
//
// and what is to be in an `out` of ordinary memory is copied there at the end, if it is still there.
import { types } from 'node:util';
import { bufferOf, byteOffsetOf, checkOutput, lengthOf } from './arrays.ts';
import { native, type FloatArray } from './binding.ts';
import { describe, notTransferable, overlap } from './errors.ts';
import type { Input } from './input.ts';

/** Whether no other code can detach, resize or reach the memory of an array in ways that a job could not stand. */
export function isShared(array: FloatArray | Int32Array): boolean {
  return types.isSharedArrayBuffer(bufferOf(array));
}

/** Whether stableInput gives memory that nobody else sees, so that results may take its place. */
export function isPrivate({ data, form }: Input, transfer: boolean): boolean {
  return form === 'numbers' || form === 'rows' || (transfer && !isShared(data));
}

/** x as a job may use it, undefined where it must be copied. With `transfer` it is detached. */
export function stableInput(
  { data, form }: Input,
  transfer: boolean,
  outs: readonly (FloatArray | Int32Array | undefined)[],
): FloatArray | undefined {
  if (form === 'numbers' || form === 'rows' || isShared(data)) return data;
  if (!transfer) return undefined;
  for (const out of outs) {
    if (out === undefined || bufferOf(out) !== bufferOf(data)) continue;
    throw overlap('memory of another buffer than x, which is handed over,', 'out', "a part of x's buffer");
  }
  return handedOver(data);
}

function handedOver(x: FloatArray): FloatArray {
  const [buffer, byteOffset, length] = [bufferOf(x), byteOffsetOf(x), lengthOf(x)];
  let moved: ArrayBuffer;
  try {
    moved = structuredClone(buffer as ArrayBuffer, { transfer: [buffer as ArrayBuffer] });
  } catch {
    // Of WebAssembly's memory, a pool of Node.js, or page-locked.
    throw notTransferable('x', describe(x));
  }
  return viewLike(x, moved, byteOffset, length);
}

/** A view of some elements of x. (x.subarray would ask the class of x for its constructor, which may be the caller's.) */
export function partOf(x: FloatArray, first: number, length: number): FloatArray {
  const size = types.isFloat32Array(x) ? 4 : 8;
  return viewLike(x, bufferOf(x), byteOffsetOf(x) + first * size, length);
}

function viewLike(x: FloatArray, buffer: ArrayBufferLike, byteOffset: number, length: number): FloatArray {
  return types.isFloat32Array(x)
    ? new Float32Array(buffer, byteOffset, length)
    : new Float64Array(buffer, byteOffset, length);
}

/** Copies x to the beginning of `to`. */
export function copyInput<To extends FloatArray>(x: FloatArray, to: To): To {
  if (lengthOf(x) > 0) native().jobs.copy(x, to);
  return to;
}

/**
 * Copies a result to the caller's array, which was checked when the call was made.
 *
 * @throws as checkOutput, where it was detached or has shrunk since; it is left as it is
 */
export function copyResult(
  result: FloatArray | Int32Array,
  out: FloatArray | Int32Array,
  name: string,
): void {
  checkOutput(out, result.length, name);
  if (result.length > 0) native().jobs.copy(result, out);
}
