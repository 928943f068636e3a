// The errors that callers see: TypeError and RangeError with a `code`, and a text of one form,
// "Expected <what> for <name> but received <what>"; and CudaError, which says what failed on a GPU.
import { inspect, types } from 'node:util';

/**
 * The `code` of an error that this package throws.
 *
 * - `ERR_INVALID_ARG_TYPE`: an argument is of a type that is not accepted.
 * - `ERR_UNKNOWN_OPTION`: an option, or a property of one, has a name that the function does not know.
 * - `ERR_OUT_OF_RANGE`: a size, the axis or the number of threads is outside its range.
 * - `ERR_SHAPE_MISMATCH`: a shape and the number of elements do not fit each other, or `out` is too small.
 * - `ERR_OVERLAP`: the result would be written over memory that is still to be read.
 * - `ERR_OUT_OF_MEMORY`: the result or the working memory cannot be allocated.
 * - `ERR_DETACHED`: an array's buffer was detached, or shrank until the array was out of its bounds.
 * - `ERR_NATIVE_LIBRARY`: the native library could not be loaded.
 * - `ERR_UNSUPPORTED_ISA`: SOFTMAX_NATIVE_ISA names an instruction set that cannot be used here.
 * - `ERR_CUDA_UNAVAILABLE`: a GPU is asked for and none can be used; the text says why.
 * - `ERR_CUDA`: a call of CUDA failed, see {@link CudaError}.
 * - `ERR_DISPOSED`: a tensor is used after its memory was freed.
 * - `ABORT_ERR`: a call in the background was stopped by its signal. The error's name is AbortError, and its `cause` the
 *   signal's reason, as with the functions of Node.js.
 */
export type ErrorCode =
  | 'ERR_INVALID_ARG_TYPE'
  | 'ERR_UNKNOWN_OPTION'
  | 'ERR_OUT_OF_RANGE'
  | 'ERR_SHAPE_MISMATCH'
  | 'ERR_OVERLAP'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_DETACHED'
  | 'ERR_NATIVE_LIBRARY'
  | 'ERR_UNSUPPORTED_ISA'
  | 'ERR_CUDA_UNAVAILABLE'
  | 'ERR_CUDA'
  | 'ERR_DISPOSED'
  | 'ABORT_ERR';

/** An error that this package throws. */
export interface SoftmaxNativeError extends Error {
  /** What is wrong. */
  readonly code: ErrorCode;
}

/**
 * A call of CUDA failed: memory that could not be allocated, a copy or kernel that did not end well, a GPU that was
 * lost. The message names what was done and the error. After one that ends the GPU's context, such as
 * cudaErrorIllegalAddress, the GPU is not used again in this process; the CPU still is.
 *
 * @example
 * ```ts
 * import { CudaError, cudaDevice } from 'softmax-native';
 *
 * let reason = '';
 * try {
 *   cudaDevice().empty([2 ** 50]); // 4 PiB
 * } catch (error) {
 *   if (error instanceof CudaError) reason = error.cudaName;
 * }
 * reason;
 * // => 'cudaErrorMemoryAllocation'
 * ```
 */
export class CudaError extends Error {
  static {
    this.prototype.name = 'CudaError';
  }
  /** Tells it from other errors of this package. */
  readonly code = 'ERR_CUDA';
  /** The number of the error, a cudaError_t: 2 is cudaErrorMemoryAllocation. */
  readonly cudaCode: number;
  /** The name of the error, such as cudaErrorMemoryAllocation. */
  readonly cudaName: string;

  constructor(message: string, cudaCode: number, cudaName: string) {
    super(message);
    this.cudaCode = cudaCode;
    this.cudaName = cudaName;
  }
}

/** Errors of calls that had not written anything yet. */
const harmless = new WeakSet<CudaError>();

/** What a native function threw as callers see it: a failure of CUDA becomes a CudaError. */
export function fromNative(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof CudaError) return error;
  const { code, cudaCode, cudaName, wroteNothing: intact } = error as unknown as Record<string, unknown>;
  if (code !== 'ERR_CUDA') return error;
  const translated = new CudaError(error.message, Number(cudaCode), String(cudaName));
  if (intact === true) harmless.add(translated);
  return translated;
}

/** Whether a call on arrays of the host is known to have left them as they were. */
export function wroteNothing(error: CudaError): boolean {
  return harmless.has(error);
}

export function unavailable(device: string, reason: string): SoftmaxNativeError {
  const error = new Error(text('a GPU that can be used', device, `none: ${reason}`));
  return withCode(error, 'ERR_CUDA_UNAVAILABLE');
}

export function disposed(name: string): SoftmaxNativeError {
  const received = 'one that was disposed of';
  return withCode(new TypeError(text('a tensor with memory', name, received)), 'ERR_DISPOSED');
}

export function invalidType(expected: string, name: string, received: unknown): SoftmaxNativeError {
  return withCode(new TypeError(text(expected, name, describe(received))), 'ERR_INVALID_ARG_TYPE');
}

export function unknownOption(names: readonly string[], what: string, received: string): SoftmaxNativeError {
  const error = new TypeError(text(`one of ${names.join(', ')}`, what, describe(received)));
  return withCode(error, 'ERR_UNKNOWN_OPTION');
}

export function notTransferable(name: string, received: string): SoftmaxNativeError {
  return withCode(
    new TypeError(text('a buffer that can be transferred', name, received)),
    'ERR_INVALID_ARG_TYPE',
  );
}

export function overlap(expected: string, name: string, received: string): SoftmaxNativeError {
  return withCode(new RangeError(text(expected, name, received)), 'ERR_OVERLAP');
}

export function aborted(reason: unknown): SoftmaxNativeError {
  const error = new Error('The operation was aborted', { cause: reason });
  error.name = 'AbortError';
  return withCode(error, 'ABORT_ERR');
}

export function outOfRange(expected: string, name: string, received: unknown): SoftmaxNativeError {
  return withCode(new RangeError(text(expected, name, describe(received))), 'ERR_OUT_OF_RANGE');
}

export function shapeMismatch(expected: string, name: string, received: string): SoftmaxNativeError {
  return withCode(new RangeError(text(expected, name, received)), 'ERR_SHAPE_MISMATCH');
}

export function outOfMemory(expected: string, name: string, received: string): SoftmaxNativeError {
  return withCode(new RangeError(text(expected, name, received)), 'ERR_OUT_OF_MEMORY');
}

export function detached(name: string): SoftmaxNativeError {
  const received = 'one whose buffer is detached, or has become too small for it';
  return withCode(new TypeError(text('an array with memory', name, received)), 'ERR_DETACHED');
}

export function nativeLibrary(message: string, cause: unknown): SoftmaxNativeError {
  return withCode(new Error(message, cause === undefined ? {} : { cause }), 'ERR_NATIVE_LIBRARY');
}

/** What was received, short enough for one line, but for some unusual values. */
export function describe(value: unknown): string {
  if (types.isTypedArray(value)) return `${ownOf(value, Symbol.toStringTag)}(${ownOf(value, 'length')})`;
  return inspect(value, {
    depth: 0,
    maxArrayLength: 8,
    maxStringLength: 40,
    breakLength: Infinity,
    customInspect: false,
  });
}

const typedArrayPrototype = Object.getPrototypeOf(Float32Array.prototype) as object;

/** What the standard's own getter says of a typed array, which may have properties of the caller's by these names. */
function ownOf(array: object, property: 'length' | typeof Symbol.toStringTag): string {
  return String(Reflect.get(typedArrayPrototype, property, array));
}

function text(expected: string, name: string, received: string): string {
  return `Expected ${expected} for ${name} but received ${received}`;
}

function withCode(error: Error, code: ErrorCode): SoftmaxNativeError {
  return Object.assign(error, { code });
}
