// Page-locked arrays: host memory that a GPU copies from and to by itself.
import { constants } from 'node:buffer';
import { allocated } from './arrays.ts';
import type { FloatArray } from './binding.ts';
import { invalidType, notTransferable, outOfMemory, outOfRange } from './errors.ts';
import { gpus, onCuda } from './gpus.ts';

const pinned = new WeakSet<object>();

/**
 * Methods of a pinned buffer. Node.js marks the buffer as one that no thread can post to another, as its memory is
 * freed when the thread that allocated it ends; the buffer that these methods make of it would have the same memory
 * without the mark. Also where buffers do not have them yet, so that the error is the same.
 */
const refused: PropertyDescriptor = {
  value: () => {
    throw notTransferable('this', 'one of page-locked memory, of allocPinned');
  },
};

/**
 * A new array of zeros in page-locked memory, which saves calls on a GPU the copy through such memory of their own. It
 * is an ordinary array otherwise, and its memory is freed with it. To lock pages is slow and takes memory from the rest
 * of the system, so allocate few such arrays and use them again, as x and as `out`.
 *
 * Where no GPU can be used it is an array of ordinary memory, so that a program needs no second way. So it is where the
 * JavaScript runtime accepts no memory but its own, as Electron does. {@link isPinned} tells.
 *
 * The memory belongs to the thread that allocates it, so the buffer cannot be transferred: in the list of `postMessage`
 * or `structuredClone` it is refused with a DataCloneError (Node.js 20 copies it), and its `transfer` and
 * `transferToFixedLength` throw TypeError `ERR_INVALID_ARG_TYPE`. `ArrayBuffer.prototype.transfer.call` stays possible;
 * the buffer that it gives must not be posted to another thread.
 *
 * @param type - 'float32' or Float32Array, 'float64' or Float64Array
 * @param length - the number of elements
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for a length that is none,
 *   `ERR_OUT_OF_MEMORY`; CudaError `ERR_CUDA` where the pages cannot be locked
 *
 * @example
 * ```ts
 * import { allocPinned, softmax } from 'softmax-native';
 *
 * const x = allocPinned('float32', 4);
 * const out = allocPinned(Float32Array, 4);
 * x.set([1, 1, 2, 2]);
 * softmax(x, { shape: [2, 2], out });
 * // => Float32Array(4) [0.5, 0.5, 0.5, 0.5]
 * ```
 */
export function allocPinned(
  type: 'float32' | Float32ArrayConstructor,
  length: number,
): Float32Array<ArrayBuffer>;
/** A new array of zeros in page-locked memory, of float64. */
export function allocPinned(
  type: 'float64' | Float64ArrayConstructor,
  length: number,
): Float64Array<ArrayBuffer>;
/** A new array of zeros in page-locked memory, of either type. */
export function allocPinned(
  type: 'float32' | 'float64' | Float32ArrayConstructor | Float64ArrayConstructor,
  length: number,
): Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;
export function allocPinned(type: unknown, length: unknown): FloatArray {
  const is32 = type === 'float32' || type === Float32Array;
  if (!is32 && type !== 'float64' && type !== Float64Array) {
    throw invalidType("'float32', 'float64', Float32Array or Float64Array", 'type', type);
  }
  if (typeof length !== 'number') throw invalidType('an integer', 'length', length);
  if (!Number.isSafeInteger(length) || length < 0) {
    throw outOfRange('a safe integer of at least 0', 'length', length);
  }
  const bytes = length * (is32 ? 4 : 8);
  if (bytes > constants.MAX_LENGTH) {
    throw outOfMemory(
      `at most ${constants.MAX_LENGTH} bytes`,
      'length',
      `${length} elements, ${bytes} bytes`,
    );
  }
  const ordinary = (): FloatArray =>
    allocated<FloatArray>(is32 ? Float32Array : Float64Array, length, 'the array');
  if (length === 0 || gpus().usable.length === 0) return ordinary();
  const array = onCuda((cuda) => cuda.allocatePinned(is32 ? 0 : 1, length)) as FloatArray | undefined;
  if (array === undefined) return ordinary();
  pinned.add(array.buffer);
  Object.defineProperties(array.buffer, { transfer: refused, transferToFixedLength: refused });
  return array;
}

/**
 * Whether an array, or a part of one, is page-locked memory of {@link allocPinned}, which it got in this thread: calls
 * on a GPU then copy it directly.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE` for anything but a typed array or a DataView
 *
 * @example
 * ```ts
 * import { allocPinned, deviceInfo, isPinned } from 'softmax-native';
 *
 * isPinned(allocPinned('float32', 4).subarray(1)) === deviceInfo().cuda.available;
 * // => true
 *
 * isPinned(new Float32Array(4));
 * // => false
 * ```
 */
export function isPinned(array: ArrayBufferView): boolean {
  if (!ArrayBuffer.isView(array)) throw invalidType('a typed array', 'array', array);
  return pinned.has(array.buffer);
}
