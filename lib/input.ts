// The argument x: what it may be, how it is read as one float array, and how a result is given the same form. A tensor
// on a GPU has no such array; tensorCall.ts reads it.
import { types } from 'node:util';
import { allocated, floatTypeOf, isOfType, type FloatType } from './arrays.ts';
import type { FloatArray } from './binding.ts';
import { describe, invalidType, outOfRange, shapeMismatch } from './errors.ts';
import { copyOf, isSameShape, shapeText, type Shape } from './shape.ts';
import { isDeviceTensor, type DeviceTensor, type FloatDtype } from './tensor.ts';

/** A float array with its shape. Other properties are ignored. */
export interface Tensor<Data extends FloatArray = FloatArray> {
  /** The elements. */
  readonly data: Data;
  /** The sizes, row-major. */
  readonly shape: Shape;
}

/** A float array with its shape under the name that ONNX Runtime gives it. Other properties are ignored. */
export interface DimsTensor<Data extends FloatArray = FloatArray> {
  /** The elements. */
  readonly data: Data;
  /** The sizes, row-major. */
  readonly dims: Shape;
}

/**
 * Logits in the memory of the host: float arrays, of any realm and over shared memory too, which are read where they
 * are; plain numbers or rows of them, computed in float64; or an object of a float array and its shape.
 */
export type HostLogits =
  FloatArray | readonly number[] | readonly (readonly number[])[] | Tensor | DimsTensor;

/** What the functions take: logits in the memory of the host, or a float tensor on a GPU. */
export type Logits = HostLogits | DeviceTensor;

/** The type of a new array for the elements of x: Float64Array for plain numbers, a tensor for a tensor. */
export type ElementArray<X, Memory extends ArrayBufferLike = ArrayBuffer> = X extends Float32Array
  ? Float32Array<Memory>
  : X extends readonly unknown[] | Float64Array
    ? Float64Array<Memory>
    : X extends DeviceTensor<infer D extends FloatDtype>
      ? DeviceTensor<D>
      : X extends { readonly data: infer Data }
        ? ElementArray<Data, Memory>
        : never;

/** The type of new indices for rows of x. */
export type IndexArray<X, Memory extends ArrayBufferLike = ArrayBuffer> = X extends DeviceTensor
  ? DeviceTensor<'int32'>
  : Int32Array<Memory>;

/** A result of the same form as x. */
export type Like<X> = X extends FloatArray | DeviceTensor
  ? ElementArray<X>
  : X extends readonly (readonly number[])[]
    ? number[][]
    : X extends readonly number[]
      ? number[]
      : X extends Tensor<infer Data>
        ? { data: ElementArray<Data>; shape: number[] }
        : X extends DimsTensor<infer Data>
          ? { data: ElementArray<Data>; dims: number[] }
          : never;

/** An array, or for a tensor a tensor, that a result for x may be written to. */
export type Writable<X> = ElementArray<X, ArrayBufferLike>;

/** What `out` may be for x. */
export type OutFor<X> = X extends Tensor | DimsTensor
  ? Writable<X> | { readonly data: Writable<X> }
  : Writable<X>;

/** x as the operations need it. */
export interface Input {
  readonly data: FloatArray;
  readonly type: FloatType;
  /** The shape for the layout, not yet checked; undefined is one row. */
  readonly shape: unknown;
  /** What x was: an array itself, numbers, rows of numbers, or an object whose shape has this name. */
  readonly form: 'array' | 'numbers' | 'rows' | 'shape' | 'dims';
}

const accepted = 'Float32Array, Float64Array, number[], number[][], { data, shape } or { data, dims }';

/**
 * Reads x, whose getters run now, and the option `shape`. Plain numbers are copied to a Float64Array.
 *
 * @param type - what floatTypeOf says of x
 */
export function readInput(x: unknown, type: FloatType | undefined, shape: unknown): Input {
  if (type === undefined) return readOtherInput(x, shape);
  return { data: x as FloatArray, type, shape, form: 'array' };
}

function readOtherInput(x: unknown, shape: unknown): Input {
  if (Array.isArray(x)) {
    const first: unknown = x[0];
    return Array.isArray(first) ? readRows(x, first.length, shape) : readNumbers(x, shape);
  }
  if (typeof x !== 'object' || x === null || types.isTypedArray(x)) throw invalidType(accepted, 'x', x);

  const tensor = readTensor(x, 'x', accepted);
  if (tensor.shape === undefined) throw invalidType(accepted, 'x', x);
  const { data, type, form } = tensor;
  return { data, type, shape: agreed(shape, tensor.shape), form };
}

/**
 * The array that `out` stands for. For a tensor, `out` may be an object with such an array, whose own shape must then
 * be the result's: x's shape with the size that the operation appends.
 */
export function readOut(out: unknown, input: Input, appended?: number): FloatArray {
  return isOfType(out, input.type) ? out : readOtherOut(out, input, appended);
}

function readOtherOut(out: unknown, input: Input, appended: number | undefined): FloatArray {
  const { type: expected, form } = input;
  if (
    (form !== 'shape' && form !== 'dims') ||
    typeof out !== 'object' ||
    out === null ||
    types.isTypedArray(out)
  ) {
    throw invalidType(expected, 'out', out);
  }
  const tensor = readTensor(out, 'out', `${expected} or { data }`);
  if (tensor.type !== expected) throw invalidType(expected, 'out.data', tensor.data);
  const sizes = sizesOf(input, appended);
  if (tensor.shape !== undefined && !isSameShape(tensor.shape, sizes)) {
    throw shapeMismatch(
      `the result's shape, ${shapeText(sizes)},`,
      `out.${tensor.form}`,
      describe(tensor.shape),
    );
  }
  return tensor.data;
}

/** A result in the form of x: the array itself, numbers, rows of numbers, or an object of the same property names. */
export function resultLike(input: Input, result: FloatArray, appended?: number): unknown {
  return input.form === 'array' ? result : formed(input, result, appended);
}

function formed(input: Input, result: FloatArray, appended: number | undefined): unknown {
  const { form } = input;
  const sizes = sizesOf(input, appended);
  if (form === 'numbers' || form === 'rows') return nested(result, sizes);
  return { data: result, [form]: sizes };
}

/** The sizes of a result's form. A flat number[] stays flat, whatever shape the option gave it. */
function sizesOf({ data, shape, form }: Input, appended: number | undefined): number[] {
  const sizes = form === 'numbers' ? [data.length] : copyOf(shape as Shape);
  if (appended !== undefined) sizes.push(appended);
  return sizes;
}

function readNumbers(x: readonly unknown[], shape: unknown): Input {
  const data = allocated(Float64Array, x.length, 'x');
  fill(data, 0, x, x.length, 'x');
  return { data, type: 'Float64Array', shape, form: 'numbers' };
}

function readRows(x: readonly unknown[], k: number, shape: unknown): Input {
  const rows = x.length;
  const data = allocated(Float64Array, rows * k, 'x');
  for (let row = 0; row < rows; row++) {
    const values = x[row];
    if (!Array.isArray(values)) throw invalidType('an array of numbers', `x[${row}]`, values);
    if (values.length !== k)
      throw shapeMismatch(`rows of ${k} numbers`, 'x', `${values.length} in x[${row}]`);
    fill(data, row * k, values, k, `x[${row}]`);
  }
  return { data, type: 'Float64Array', shape: agreed(shape, [rows, k]), form: 'rows' };
}

function fill(
  data: Float64Array,
  start: number,
  values: readonly unknown[],
  count: number,
  name: string,
): void {
  for (let i = 0; i < count; i++) {
    const value = values[i];
    if (typeof value !== 'number') {
      const expected = types.isTypedArray(value)
        ? 'rows as plain arrays, or one float array with a shape,'
        : 'a number';
      throw invalidType(expected, `${name}[${i}]`, value);
    }
    data[start + i] = value;
  }
}

/** An object with a float array, and its shape if it has one. */
function readTensor(
  object: object,
  name: string,
  expected: string,
): { data: FloatArray; type: FloatType; shape: Shape | undefined; form: 'shape' | 'dims' } {
  if (isDeviceTensor(object)) throw invalidType(expected, name, object);
  const { data, shape: named, dims, stride, strides, offset } = object as Record<string, unknown>;
  const form = named === undefined ? 'dims' : 'shape';
  const shape = named ?? dims;
  if (data === undefined) throw invalidType(isCloneOfTensor(object) ? notAClone : expected, name, object);
  if (isDeviceTensor(data)) throw invalidType(`an array (a tensor is ${name} itself)`, `${name}.data`, data);
  const type = floatTypeOf(data);
  if (type === undefined) throw invalidType('Float32Array or Float64Array', `${name}.data`, data);
  const array = data as FloatArray;
  if (shape === undefined) return { data: array, type, shape, form };
  if (!Array.isArray(shape)) throw invalidType('an array of sizes', `${name}.${form}`, shape);

  const sizes = [...(shape as Shape)];
  if (form === 'shape' && Array.isArray(dims) && !isSameShape(dims as Shape, sizes)) {
    throw shapeMismatch(`the sizes of ${name}.shape, ${describe(sizes)},`, `${name}.dims`, describe(dims));
  }
  checkContiguous(sizes, stride ?? strides, `${name}.stride`);
  if (offset !== undefined && offset !== 0) throw outOfRange('0', `${name}.offset`, offset);
  return { data: array, type, shape: sizes, form };
}

const notAClone = 'a tensor of this thread, as a clone has no memory (what its data() gives can be sent),';

/** What structuredClone and postMessage make of a tensor where the runtime cannot forbid it. */
function isCloneOfTensor(object: object): boolean {
  const { dtype, device } = object as Record<string, unknown>;
  return typeof dtype === 'string' && typeof device === 'string' && device.startsWith('cuda:');
}

/** Refuses the strides of a transposed or sliced view (of an ndarray): its elements are not where the shape says. */
function checkContiguous(sizes: Shape, strides: unknown, name: string): void {
  if (strides === undefined) return;
  if (!Array.isArray(strides)) throw invalidType('an array of strides', name, strides);
  let expected = 1;
  for (let dimension = sizes.length - 1; dimension >= 0; dimension--) {
    const size = sizes[dimension] ?? 1;
    if (size !== 1 && strides[dimension] !== expected) {
      throw shapeMismatch('row-major strides without gaps', name, describe(strides));
    }
    expected *= size;
  }
}

/** The shape that x carries itself; the option may repeat it. */
export function agreed(option: unknown, own: Shape): Shape {
  if (option === undefined) return own;
  if (!Array.isArray(option)) throw invalidType('an array of sizes', 'shape', option);
  if (!isSameShape(option as Shape, own)) {
    throw shapeMismatch(`the shape of x itself, ${describe(own)},`, 'shape', describe(option));
  }
  return own;
}

// Loops, as they are several times as fast as Array.from().

function numbersOf(elements: FloatArray, start: number, count: number): number[] {
  const numbers: number[] = [];
  for (let i = 0; i < count; i++) numbers.push(elements[start + i]!);
  return numbers;
}

/** The elements from `start` as arrays in arrays, by the sizes from `dimension`. */
function nested(elements: FloatArray, sizes: Shape, dimension = 0, start = 0): unknown[] {
  const size = sizes[dimension]!;
  if (dimension === sizes.length - 1) return numbersOf(elements, start, size);
  let step = 1;
  for (let inner = dimension + 1; inner < sizes.length; inner++) step *= sizes[inner]!;
  const rows: unknown[] = [];
  for (let i = 0; i < size; i++) rows.push(nested(elements, sizes, dimension + 1, start + i * step));
  return rows;
}
