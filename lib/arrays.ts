// Float arrays: of which type they are, whether they have the elements that a call needs, and new ones for results.
//
// Types are told by the internal slot (node:util's types), as instanceof fails for an array of another realm: a vm
// context, a frame, a test runner's sandbox.
import { Buffer, constants } from 'node:buffer';
import { types } from 'node:util';
import { native, type FloatArray } from './binding.ts';
import { describe, detached, outOfMemory, shapeMismatch } from './errors.ts';

export type FloatType = 'Float32Array' | 'Float64Array';

/** The type of a float array; undefined for anything else. Every call asks once, and passes the answer on. */
export function floatTypeOf(value: unknown): FloatType | undefined {
  if (types.isFloat32Array(value)) return 'Float32Array';
  return types.isFloat64Array(value) ? 'Float64Array' : undefined;
}

export function isOfType(value: unknown, type: FloatType): value is FloatArray {
  return floatTypeOf(value) === type;
}

const getters = Object.getOwnPropertyDescriptors(
  Object.getPrototypeOf(Float32Array.prototype) as Float32Array,
);
const getByteOffset = getters.byteOffset.get!;
const getBuffer = getters.buffer.get!;
const getLength = getters.length.get!;

/** The standard's getter itself, which takes no time; to find it through the array takes 10 ns. */
export function byteOffsetOf(array: FloatArray): number {
  return Reflect.apply(getByteOffset, array, []);
}

/** As `byteOffsetOf`: an array may have a property of the caller's by this name. */
export function lengthOf(array: FloatArray | Int32Array): number {
  return Reflect.apply(getLength, array, []);
}

/** As `byteOffsetOf`. The first time it gives an array of 64 bytes or less memory outside the collector's heap. */
export function bufferOf(array: FloatArray | Int32Array): ArrayBufferLike {
  return Reflect.apply(getBuffer, array, []);
}

/**
 * Checks that x has exactly the elements of its shape. Like every check of a length it comes after the last of the
 * caller's getters has run, as those may detach or resize a buffer.
 */
export function checkInput(x: FloatArray | Int32Array, elements: number, shape: unknown): void {
  const length = lengthOf(x);
  if (length !== elements || length === 0) refuseInput(x, elements, shape);
}

/** Checks that a result of `elements` fits into an array of the caller's. */
export function checkOutput(out: FloatArray | Int32Array, elements: number, name: string): void {
  const length = lengthOf(out);
  if (length < elements || length === 0) refuseOutput(out, elements, name);
}

// What every call goes through is short enough for the compiler to put it into the caller; what few need is apart.

function refuseInput(x: FloatArray | Int32Array, elements: number, shape: unknown): void {
  checkAttached(x, 'x');
  if (elements === lengthOf(x)) return;
  const expected = `sizes whose product is ${lengthOf(x)}, the length of x,`;
  throw shapeMismatch(expected, 'shape', `${describe(shape)} with the product ${elements}`);
}

function refuseOutput(out: FloatArray | Int32Array, elements: number, name: string): void {
  checkAttached(out, name);
  if (lengthOf(out) >= elements) return;
  throw shapeMismatch(`an array of at least ${elements} elements`, name, `one of ${lengthOf(out)}`);
}

/** The constructor of an array type, as far as it is used here. */
interface ArrayType<Array> {
  new (length: number): Array;
  readonly BYTES_PER_ELEMENT: number;
}
interface ViewType<Array> extends ArrayType<Array> {
  new (buffer: ArrayBuffer): Array;
}

/** A new array of zeros; `what` says what it holds. */
export function allocated<Array extends FloatArray | Int32Array>(
  type: ArrayType<Array>,
  elements: number,
  what: string,
): Array {
  try {
    return new type(elements);
  } catch {
    throw tooLarge(type, elements, what);
  }
}

/** A new array for a result, which is written as a whole before anybody sees it. */
export function allocate(type: FloatType, elements: number, what: string): FloatArray {
  return type === 'Float32Array'
    ? newResult(Float32Array, elements, what)
    : newResult(Float64Array, elements, what);
}

/** The same for indices. */
export function allocateIndices(elements: number, what: string): Int32Array {
  return newResult(Int32Array, elements, what);
}

/** In bytes. Smaller arrays take no less time without zeros. */
const largeResult = 2 ** 14;

function newResult<Array extends FloatArray | Int32Array>(
  type: ViewType<Array>,
  elements: number,
  what: string,
): Array {
  return elements * type.BYTES_PER_ELEMENT < largeResult
    ? allocated(type, elements, what)
    : newLargeResult(type, elements, what);
}

/** An array of whatever was in memory: nothing has to make it zeros before it is written. */
function newLargeResult<Array extends FloatArray | Int32Array>(
  type: ViewType<Array>,
  elements: number,
  what: string,
): Array {
  const bytes = elements * type.BYTES_PER_ELEMENT;
  if (bytes > constants.MAX_LENGTH) return allocated(type, elements, what);
  let result;
  try {
    result = new type(Buffer.allocUnsafeSlow(bytes).buffer);
  } catch {
    throw tooLarge(type, elements, what);
  }
  native().prepareResult(result);
  return result;
}

/** An array is too long for its type, or the system does not give as much. */
function tooLarge(type: ArrayType<unknown>, elements: number, what: string): Error {
  const bytes = elements * type.BYTES_PER_ELEMENT;
  return outOfMemory('a size that can be allocated', what, `${elements} elements, ${bytes} bytes`);
}

/**
 * An array whose buffer was detached, or shrank until the array was out of its bounds, says that it is empty. Reading
 * an element through the standard's own function tells such an array from an empty one.
 */
function checkAttached(array: FloatArray | Int32Array, name: string): void {
  if (lengthOf(array) > 0) return;
  try {
    Reflect.apply(Float32Array.prototype.at, array, [0]);
  } catch {
    throw detached(name);
  }
}
