// cudaDevice: a GPU, on which tensors are made.
import { types } from 'node:util';
import { allocated, checkInput, floatTypeOf } from './arrays.ts';
import type { FloatArray } from './binding.ts';
import { invalidType, outOfRange } from './errors.ts';
import { gpus, nameOf, onCudaAsync, requireGpu } from './gpus.ts';
import { readInput, type HostLogits } from './input.ts';
import { namesOf, readOptions } from './options.ts';
import { productOf, readShape, type Shape } from './shape.ts';
import { emptyTensor, readDtype, tensorOf, type DeviceTensor, type Dtype } from './tensor.ts';

/** The element type that a tensor of x has by default: 'float64' for plain numbers. */
export type DtypeOf<X> = X extends Float32Array
  ? 'float32'
  : X extends Int32Array
    ? 'int32'
    : X extends Float64Array | readonly unknown[]
      ? 'float64'
      : X extends { readonly data: infer Data extends FloatArray }
        ? DtypeOf<Data>
        : never;

/** The options of {@link CudaDevice.tensor}. */
export interface TensorOptions<D extends Dtype = Dtype> {
  /** The sizes, row-major; without it x is one row, or has the shape that it carries itself. */
  shape?: Shape | undefined;
  /** The element type, by default that of x: 'float32' or 'float64', to which floats are rounded. */
  dtype?: D | undefined;
}

/** The options of {@link CudaDevice.empty}. */
export interface EmptyOptions<D extends Dtype = Dtype> {
  /** The element type, 'float32' by default. */
  dtype?: D | undefined;
}

const tensorOptions = namesOf('shape', 'dtype');
const emptyOptions = namesOf('dtype');

let create: (index: number, name: string) => CudaDevice;

/** A GPU that can be used, from {@link cudaDevice}. */
export class CudaDevice {
  /** Its number among the GPUs that CUDA shows, from 0. */
  readonly index: number;
  /** Its name, as the driver gives it. */
  readonly name: string;

  static {
    create = (index, name) => new CudaDevice(index, name);
  }

  private constructor(index: number, name: string) {
    this.index = index;
    this.name = name;
    Object.freeze(this);
  }

  /**
   * A tensor with the elements of x, which may be changed when this returns.
   *
   * @param x - Float32Array, Float64Array or Int32Array; number[] or number[][], which become float64; or an object
   *   { data, shape } or { data, dims } with a float array
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_DETACHED`; RangeError `ERR_OUT_OF_RANGE`, `ERR_SHAPE_MISMATCH` for a
   *   shape that is not that of x; CudaError `ERR_CUDA`, with cudaErrorMemoryAllocation where the GPU's memory is full
   */
  tensor<X extends HostLogits | Int32Array, D extends Dtype = DtypeOf<X>>(
    x: X,
    options?: TensorOptions<D>,
  ): DeviceTensor<D>;
  tensor(x: unknown, options?: unknown): DeviceTensor<Dtype> {
    const { shape, dtype: asked } = readOptions(options, tensorOptions);
    const input = types.isInt32Array(x) ? { data: x, shape } : readInput(x, floatTypeOf(x), shape);
    const { data } = input;
    const sizes = input.shape === undefined ? [data.length] : readShape(input.shape);
    const own = dtypeOf(data);
    const dtype = readDtype(asked, own);
    if ((dtype === 'int32') !== (own === 'int32')) {
      throw outOfRange(own === 'int32' ? "'int32'" : "'float32' or 'float64'", 'dtype', dtype);
    }

    // No getter of the caller's runs from here on.
    checkInput(data, productOf(sizes), sizes);
    return tensorOf(this.index, dtype, sizes, dtype === own ? data : converted(data, dtype));
  }

  /**
   * A tensor whose elements are not set: for results, as `out`.
   *
   * @param shape - the sizes, row-major
   * @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE`, `ERR_OUT_OF_MEMORY` for sizes without
   *   bounds; CudaError `ERR_CUDA`, with cudaErrorMemoryAllocation where the GPU's memory is full
   */
  empty<D extends Dtype = 'float32'>(shape: Shape, options?: EmptyOptions<D>): DeviceTensor<D>;
  empty(shape: unknown, options?: unknown): DeviceTensor<Dtype> {
    const { dtype } = readOptions(options, emptyOptions);
    return emptyTensor(this.index, readDtype(dtype, 'float32'), readShape(shape));
  }

  /**
   * Resolves when the calls that this thread has made on tensors of the GPU so far have been carried out. The event
   * loop goes on meanwhile. Like the first use of any kind it starts the GPU, so that 'auto' no longer counts the
   * start.
   *
   * @throws as a rejection: CudaError `ERR_CUDA`
   */
  async synchronize(): Promise<void> {
    await onCudaAsync((cuda) => cuda.synchronize(this.index));
  }
}

const devices: CudaDevice[] = [];

/**
 * A GPU, to make tensors on. Nothing is started by this: the first tensor, or `synchronize`, makes the GPU's context,
 * in about 0.3 s.
 *
 * @param index - its number, from 0; without it the first GPU that can be used, which is the one that 'cuda' means
 * @throws TypeError `ERR_INVALID_ARG_TYPE` and RangeError `ERR_OUT_OF_RANGE` for anything but such a number; Error
 *   `ERR_CUDA_UNAVAILABLE`, which says why, where that GPU cannot be used
 *
 * @example
 * ```ts
 * import { cudaDevice, softmax } from 'softmax-native';
 *
 * const device = cudaDevice();
 * const x = device.tensor(Float32Array.of(1, 1, 2, 2), { shape: [2, 2] });
 * const out = device.empty([2, 2]);
 * softmax(x, { out }) === out;
 * // => true
 *
 * out.dataSync();
 * // => Float32Array(4) [0.5, 0.5, 0.5, 0.5]
 *
 * x.dispose();
 * out.dispose();
 * ```
 */
export function cudaDevice(index?: number): CudaDevice {
  if (index !== undefined) {
    if (typeof index !== 'number') throw invalidType('an integer', 'index', index);
    if (!Number.isSafeInteger(index) || index < 0) {
      throw outOfRange('an integer of at least 0', 'index', index);
    }
  }
  const gpu = requireGpu(index, `device '${index === undefined ? 'cuda' : nameOf(index)}'`);
  return (devices[gpu] ??= create(gpu, String(gpus().info.devices[gpu]?.name)));
}

function dtypeOf(data: FloatArray | Int32Array): Dtype {
  if (types.isInt32Array(data)) return 'int32';
  return types.isFloat32Array(data) ? 'float32' : 'float64';
}

function converted(data: FloatArray | Int32Array, dtype: Dtype): FloatArray {
  const type = dtype === 'float32' ? Float32Array : Float64Array;
  const array: FloatArray = allocated<FloatArray>(type, data.length, 'x');
  array.set(data);
  return array;
}
