/// <reference lib="esnext.disposable" preserve="true" />
// DeviceTensor: an array in the memory of a GPU, which stays there between calls.
import { types } from 'node:util';
import * as workerThreads from 'node:worker_threads';
import { allocated, checkOutput } from './arrays.ts';
import { native, type FloatArray, type NativeDtype, type NativeMemory } from './binding.ts';
import { disposed, invalidType, outOfMemory, outOfRange } from './errors.ts';
import { nameOf, onCuda, onCudaAsync } from './gpus.ts';
import { namesOf, readOptions } from './options.ts';
import { readGpu } from './placement.ts';
import { productOf, readShape, type Shape } from './shape.ts';

/** The element types of logits and probabilities. */
export type FloatDtype = 'float32' | 'float64';

/** The element types of tensors: int32 are the indices of rowMax. */
export type Dtype = FloatDtype | 'int32';

/** The typed array of an element type. */
export type ArrayOf<D extends Dtype, Memory extends ArrayBufferLike = ArrayBuffer> = D extends 'float32'
  ? Float32Array<Memory>
  : D extends 'float64'
    ? Float64Array<Memory>
    : Int32Array<Memory>;

/** What a tensor over memory of other code is. */
export interface PointerOptions<D extends Dtype = Dtype> {
  /** The sizes, row-major. */
  shape: Shape;
  /** The element type, 'float32' by default. */
  dtype?: D | undefined;
  /** The GPU that the memory is on: 'cuda', the default, is the first that can be used. */
  device?: 'cuda' | `cuda:${number}` | undefined;
}

const pointerOptions = namesOf('shape', 'dtype', 'device');

type AnyArray = FloatArray | Int32Array;

interface Type {
  readonly code: NativeDtype;
  readonly array: { new (length: number): AnyArray; readonly BYTES_PER_ELEMENT: number };
}

const elementTypes: Readonly<Record<Dtype, Type>> = {
  float32: { code: 0, array: Float32Array },
  float64: { code: 1, array: Float64Array },
  int32: { code: 2, array: Int32Array },
};

// Node.js 22.10 and later: structuredClone and postMessage then throw, instead of giving an object without memory.
const { markAsUncloneable } = workerThreads as { markAsUncloneable?: (object: object) => void };

/** What the class lets the rest of lib/ do, and nobody else. */
interface Internals {
  create: <D extends Dtype>(memory: NativeMemory, gpu: number, dtype: D, shape: number[]) => DeviceTensor<D>;
  memory: (tensor: DeviceTensor<Dtype>) => NativeMemory | undefined;
  gpu: (tensor: DeviceTensor<Dtype>) => number;
  is: (value: unknown) => value is DeviceTensor<Dtype>;
}
let internals: Internals;

/**
 * An array in the memory of a GPU. The functions of this package take it as x and as `out`, compute on its GPU, and
 * give tensors: nothing crosses the bus, and nothing is waited for. Calls on the tensors of one GPU are carried out in
 * the order in which they were made; `data` and `dataSync` wait for those that they depend on.
 *
 * Tensors are made by {@link CudaDevice.tensor} and {@link CudaDevice.empty}, as results, and over memory of other code
 * by {@link DeviceTensor.fromPointer}. The memory is freed by `dispose`, at the end of a block by `using`, or some time
 * after the tensor cannot be reached any more. JavaScript's garbage collector does not know how scarce a GPU's memory
 * is: programs that make many large tensors should dispose of them. A tensor belongs to the thread that made it, and
 * cannot be cloned or posted to another.
 *
 * @example
 * ```ts
 * import { cudaDevice, rowMax, softmax } from 'softmax-native';
 *
 * const logits = Float32Array.of(1, 1, 1, 1, 0, 0, -Infinity, -Infinity);
 * const x = cudaDevice().tensor(logits, { shape: [2, 4] });
 *
 * const probabilities = softmax(x);
 * probabilities.dataSync();
 * // => Float32Array(8) [0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 0, 0]
 *
 * const { max, argmax } = rowMax(probabilities);
 * argmax.dataSync();
 * // => Int32Array(2) [0, 0]
 *
 * for (const tensor of [x, probabilities, max, argmax]) tensor.dispose();
 * ```
 */
export class DeviceTensor<D extends Dtype = FloatDtype> {
  /** The sizes, row-major. */
  readonly shape: Shape;
  /** The element type: 'float32', 'float64', or 'int32' for indices. */
  readonly dtype: D;
  /** The number of elements. */
  readonly length: number;
  /** The GPU, 'cuda:0' for the first one. */
  readonly device: `cuda:${number}`;

  #memory: NativeMemory | undefined;
  readonly #gpu: number;

  static {
    internals = {
      create: (memory, gpu, dtype, shape) => new DeviceTensor(memory, gpu, dtype, shape),
      memory: (tensor) => tensor.#memory,
      gpu: (tensor) => tensor.#gpu,
      is: (value): value is DeviceTensor<Dtype> =>
        typeof value === 'object' && value !== null && #memory in value,
    };
  }

  private constructor(memory: NativeMemory, gpu: number, dtype: D, shape: number[]) {
    if (memory === undefined) {
      const makers = 'cudaDevice().tensor, cudaDevice().empty or DeviceTensor.fromPointer';
      throw invalidType(`memory from ${makers}`, 'new DeviceTensor', memory);
    }
    this.#memory = memory;
    this.#gpu = gpu;
    this.shape = Object.freeze(shape);
    this.dtype = dtype;
    this.length = productOf(shape);
    this.device = nameOf(gpu);
    markAsUncloneable?.(this);
    Object.freeze(this);
  }

  /**
   * A tensor over memory that other CUDA code in this process has allocated and keeps. It is not freed by `dispose`,
   * and must not be freed before the calls that use it have been carried out. Memory of the host, even page-locked, is
   * refused, and so is that of another GPU; that it has the elements of the shape cannot be checked.
   *
   * Work of other code on the memory must have ended (cudaStreamSynchronize): calls here use a stream of their own.
   *
   * @param pointer - the address on the GPU, a multiple of the element's size; of 16, the fastest loads are used
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_UNKNOWN_OPTION` and RangeError `ERR_OUT_OF_RANGE` for other
   *   arguments; Error `ERR_CUDA_UNAVAILABLE` for a GPU that cannot be used; CudaError `ERR_CUDA`, with
   *   cudaErrorInvalidDevicePointer for an address that is not memory of the GPU
   */
  static fromPointer<D extends Dtype = 'float32'>(
    pointer: bigint,
    options: PointerOptions<D>,
  ): DeviceTensor<D> {
    if (typeof pointer !== 'bigint') throw invalidType('a bigint', 'pointer', pointer);
    const given = readOptions(options, pointerOptions);
    const shape = readShape(given['shape']);
    const dtype = readDtype(given['dtype'], 'float32') as D;
    const gpu = readGpu(given['device']);
    const bytes = bytesOf(dtype, shape);
    const { BYTES_PER_ELEMENT: size } = elementTypes[dtype].array;
    if (pointer <= 0n || pointer >= 2n ** 64n || pointer % BigInt(size) !== 0n) {
      throw outOfRange(`the address of ${size}-byte elements`, 'pointer', pointer);
    }
    const memory = onCuda((cuda) => cuda.fromPointer(gpu, pointer, bytes));
    return internals.create(memory, gpu, dtype, shape);
  }

  /** Whether the memory was freed: every other use then throws TypeError `ERR_DISPOSED`. */
  get disposed(): boolean {
    return this.#memory === undefined;
  }

  /**
   * The address of the first element, for other CUDA code. It is good until the tensor is disposed of. Before other
   * code uses it, `await device.synchronize()` waits for the calls made so far.
   *
   * @throws TypeError `ERR_DISPOSED`
   */
  get pointer(): bigint {
    const memory = memoryOf(this, 'the tensor');
    return native().cuda.pointer(memory);
  }

  /**
   * The elements in a new array, when the calls made before have been carried out. The event loop goes on meanwhile;
   * the tensor may be used, written and disposed of at once, as what is written later does not reach the array.
   *
   * @throws as a rejection: TypeError `ERR_DISPOSED`; RangeError `ERR_OUT_OF_MEMORY` for more elements than an array of
   *   the host can have; CudaError `ERR_CUDA`
   */
  async data(): Promise<ArrayOf<D>> {
    const memory = memoryOf(this, 'the tensor');
    const array = this.#newArray();
    await onCudaAsync((cuda) => cuda.download(memory, array));
    return array as ArrayOf<D>;
  }

  /**
   * The elements in a new array, when the calls made before have been carried out, which this waits for.
   *
   * @throws TypeError `ERR_DISPOSED`; RangeError `ERR_OUT_OF_MEMORY` for more elements than an array of the host can
   *   have; CudaError `ERR_CUDA`
   */
  dataSync(): ArrayOf<D>;
  /**
   * The elements, copied to `out`, which is returned.
   *
   * @param out - an array of the element type with at least as many elements
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_DETACHED`, `ERR_DISPOSED`; RangeError `ERR_SHAPE_MISMATCH` for an
   *   `out` that is too small; CudaError `ERR_CUDA`
   */
  dataSync<Out extends ArrayOf<D, ArrayBufferLike>>(out: Out): Out;
  dataSync(out?: ArrayOf<D, ArrayBufferLike>): ArrayOf<D, ArrayBufferLike> {
    const memory = memoryOf(this, 'the tensor');
    if (out !== undefined) {
      if (!isArrayOf(this.dtype, out)) throw invalidType(elementTypes[this.dtype].array.name, 'out', out);
      checkOutput(out, this.length, 'out');
    }
    const result: AnyArray = out ?? this.#newArray();
    if (this.length > 0) onCuda((cuda) => cuda.downloadSync(memory, result, this.length));
    return result as ArrayOf<D, ArrayBufferLike>;
  }

  #newArray(): AnyArray {
    return allocated<AnyArray>(elementTypes[this.dtype].array, this.length, 'the elements');
  }

  /**
   * Frees the memory, once the calls made before have been carried out. It does not wait for them. Other tensors may
   * take it at once; what none has taken within half a second or so other processes may, but for 32 MB that stay with
   * this one. Memory of other code is left as it is. Again, it does nothing.
   */
  dispose(): void {
    const memory = this.#memory;
    if (memory === undefined) return;
    this.#memory = undefined;
    native().cuda.free(memory);
  }

  /** As `dispose`, at the end of a block with `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

export function isDeviceTensor(value: unknown): value is DeviceTensor<Dtype> {
  return internals.is(value);
}

/** The memory of a tensor, which must not be disposed of. */
export function memoryOf(tensor: DeviceTensor<Dtype>, name: string): NativeMemory {
  const memory = internals.memory(tensor);
  if (memory === undefined) throw disposed(name);
  return memory;
}

export function gpuOf(tensor: DeviceTensor<Dtype>): number {
  return internals.gpu(tensor);
}

/** How the native functions number an element type. */
export function codeOf(dtype: Dtype): NativeDtype {
  return elementTypes[dtype].code;
}

/** A tensor whose elements are not set. */
export function emptyTensor<D extends Dtype>(gpu: number, dtype: D, shape: number[]): DeviceTensor<D> {
  const bytes = bytesOf(dtype, shape);
  const memory = onCuda((cuda) => cuda.allocate(gpu, bytes));
  return internals.create(memory, gpu, dtype, shape);
}

/** A tensor with the elements of an array. */
export function tensorOf<D extends Dtype>(
  gpu: number,
  dtype: D,
  shape: number[],
  array: AnyArray,
): DeviceTensor<D> {
  const tensor = emptyTensor(gpu, dtype, shape);
  return unlessItFails([tensor], () => {
    if (array.length > 0) onCuda((cuda) => cuda.upload(memoryOf(tensor, 'the tensor'), array));
    return tensor;
  });
}

/** What `fill` gives; where it throws, the tensors that were made for it are disposed of. */
export function unlessItFails<Result>(made: readonly DeviceTensor<Dtype>[], fill: () => Result): Result {
  try {
    return fill();
  } catch (error) {
    for (const tensor of made) tensor.dispose();
    throw error;
  }
}

/** Checks the option `dtype`. */
export function readDtype(dtype: unknown, byDefault: Dtype): Dtype {
  if (dtype === undefined) return byDefault;
  if (typeof dtype !== 'string') throw invalidType("'float32', 'float64' or 'int32'", 'dtype', dtype);
  if (!Object.hasOwn(elementTypes, dtype))
    throw outOfRange("'float32', 'float64' or 'int32'", 'dtype', dtype);
  return dtype as Dtype;
}

function isArrayOf(dtype: Dtype, value: unknown): value is AnyArray {
  if (dtype === 'int32') return types.isInt32Array(value);
  return dtype === 'float32' ? types.isFloat32Array(value) : types.isFloat64Array(value);
}

function bytesOf(dtype: Dtype, shape: number[]): number {
  const elements = productOf(shape);
  const bytes = elements * elementTypes[dtype].array.BYTES_PER_ELEMENT;
  if (Number.isSafeInteger(bytes)) return bytes;
  throw outOfMemory('a size that can be allocated', 'the tensor', `${elements} elements, ${bytes} bytes`);
}
