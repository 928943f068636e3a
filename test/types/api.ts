// The types of the API: checked by the compiler, never run.
import {
  allocPinned,
  cudaDevice,
  deviceInfo,
  DeviceTensor,
  isPinned,
  rowMax,
  setAutoCosts,
  setDefaultDevice,
  softmax,
  softmaxJacobian,
  type CudaError,
  type Device,
  type Dtype,
  type ErrorCode,
  type FloatDtype,
  type HostLogits,
  type Like,
  type Logits,
  type RowMax,
  type RowMaxOptions,
  type RowMaxOut,
  type SoftmaxNativeError,
  type SoftmaxOptions,
} from '../../lib/index.ts';

type IsAny<A> = 0 extends 1 & A ? true : false;
type Same<A, B> = [A, B, IsAny<A>] extends [B, A, IsAny<B>] ? true : false;

/** Compiles only where the value has exactly the type that is named. */
declare function hasType<Expected>(): <Actual>(value: Actual, same: Same<Actual, Expected>) => void;

declare const float32: Float32Array;
declare const float64: Float64Array;
declare const shared: Float32Array<SharedArrayBuffer>;
declare const either: Float32Array | Float64Array;
declare const numbers: number[];
declare const rows: number[][];
declare const fixed: readonly [readonly [1, 2], readonly [3, 4]];
declare const tensor: { data: Float32Array; shape: number[] };
declare const ortTensor: {
  readonly data: Float64Array;
  readonly dims: readonly number[];
  readonly type: 'float64';
};

// A new result has the form of x.
hasType<Float32Array<ArrayBuffer>>()(softmax(float32), true);
hasType<Float64Array<ArrayBuffer>>()(softmax(float64, { shape: [2, 3], axis: 0, threads: 2 }), true);
hasType<Float32Array<ArrayBuffer>>()(softmax(shared), true);
hasType<Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>()(softmax(either), true);
hasType<number[]>()(softmax(numbers), true);
hasType<number[]>()(softmax([1, 2, 3]), true);
hasType<number[]>()(softmax([1, 2, 3] as const), true);
hasType<number[][]>()(softmax(rows), true);
hasType<number[][]>()(softmax([[1], [2]]), true);
hasType<number[][]>()(softmax(fixed), true);
hasType<{ data: Float32Array<ArrayBuffer>; shape: number[] }>()(softmax(tensor), true);
hasType<{ data: Float64Array<ArrayBuffer>; dims: number[] }>()(softmax(ortTensor), true);
hasType<Float32Array<ArrayBuffer>>()(softmaxJacobian(float32, { shape: [2, 3] }), true);
hasType<number[][]>()(softmaxJacobian(numbers), true);
hasType<number[][][]>()(softmaxJacobian(rows), true);
hasType<{ data: Float64Array<ArrayBuffer>; dims: number[] }>()(softmaxJacobian(ortTensor), true);

// out is what is returned.
hasType<Float32Array<SharedArrayBuffer>>()(softmax(float32, { out: shared }), true);
hasType<Float64Array>()(softmax(numbers, { out: float64 }), true);
hasType<Float64Array>()(softmaxJacobian(rows, { out: float64 }), true);
hasType<Float32Array>()(softmax(tensor, { out: float32 }), true);
hasType<{ data: Float32Array; shape: number[] }>()(softmax(tensor, { out: tensor }), true);
hasType<Float32Array<ArrayBuffer>>()(softmax(float32, { out: undefined, shape: undefined }), true);

// An out that may be there.
declare const maybe: Float64Array | undefined;
hasType<number[] | Float64Array>()(softmax(numbers, { out: maybe }), true);
declare const options: SoftmaxOptions<Float64Array>;
hasType<number[] | Float64Array>()(softmax(numbers, options), true);
hasType<number[][] | Float64Array>()(softmaxJacobian(numbers, { out: maybe }), true);

declare const own: SoftmaxOptions;
hasType<Float32Array<ArrayBuffer>>()(softmax(float32, own), true);
declare const ownRowMax: RowMaxOptions;
hasType<RowMax<Float32Array<ArrayBuffer>, Int32Array<ArrayBuffer>>>()(rowMax(tensor, ownRowMax), true);
declare const maybeRowMax: RowMaxOptions<RowMaxOut<Float32Array> | undefined>;
hasType<RowMax>()(rowMax(float32, maybeRowMax), false);
hasType<Float32Array>()(rowMax(float32, maybeRowMax).max, true);

// rowMax has arrays, whatever x is.
hasType<RowMax<Float32Array<ArrayBuffer>, Int32Array<ArrayBuffer>>>()(rowMax(float32), true);
hasType<RowMax<Float64Array<ArrayBuffer>, Int32Array<ArrayBuffer>>>()(rowMax(rows, { keepdims: true }), true);
hasType<RowMax<Float64Array<ArrayBuffer>, Int32Array<ArrayBuffer>>>()(rowMax(ortTensor, { axis: 0 }), true);
hasType<Float32Array<SharedArrayBuffer>>()(rowMax(float32, { out: { max: shared } }).max, true);
hasType<Int32Array<ArrayBuffer>>()(rowMax(float32, { out: { max: shared } }).argmax, true);
hasType<number[]>()(rowMax(float32).shape, true);

// A function over any input.
export function generic<X extends Logits>(x: X): Like<X> {
  return softmax(x);
}
export function onHost<X extends HostLogits>(x: X): Like<X> {
  return softmax(x, { device: 'cpu' });
}
export function floats(x: Float32Array | Float64Array): Float32Array | Float64Array {
  return softmax(x, { shape: [x.length] });
}

// Tensors give tensors, of the same element type.
type Tensor32 = DeviceTensor<'float32'>;
type Tensor64 = DeviceTensor<'float64'>;
declare const tensor32: Tensor32;
declare const tensor64: Tensor64;
declare const tensorOfFloats: DeviceTensor;
declare const indices: DeviceTensor<'int32'>;
declare const arrayOrTensor: Float32Array | Tensor32;
hasType<Tensor32>()(softmax(tensor32), true);
hasType<Tensor64>()(softmax(tensor64, { axis: 0, shape: [2, 3], device: 'cuda' }), true);
hasType<DeviceTensor>()(softmax(tensorOfFloats), true);
hasType<FloatDtype>()(softmax(tensorOfFloats).dtype, true);
hasType<Tensor32>()(softmax(tensor32, { out: tensor32 }), true);
hasType<Tensor32>()(softmaxJacobian(tensor32), true);
hasType<Tensor64>()(softmaxJacobian(tensor64, { out: tensor64 }), true);
hasType<RowMax<Tensor32, DeviceTensor<'int32'>>>()(rowMax(tensor32), true);
hasType<RowMax<Tensor64, DeviceTensor<'int32'>>>()(rowMax(tensor64, { out: { max: tensor64 } }), true);
hasType<DeviceTensor<'int32'>>()(rowMax(tensor32, { out: { argmax: indices } }).argmax, true);
hasType<Float32Array<ArrayBuffer> | Tensor32>()(softmax(arrayOrTensor), true);
hasType<Float32Array<ArrayBuffer>>()(softmax(float32, { device: 'cuda:1' }), true);
hasType<Promise<Float32Array<ArrayBuffer>>>()(tensor32.data(), true);
hasType<Promise<Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>>()(tensorOfFloats.data(), true);
hasType<Int32Array<ArrayBuffer>>()(indices.dataSync(), true);
hasType<Float32Array<SharedArrayBuffer>>()(tensor32.dataSync(shared), true);
hasType<bigint>()(tensor32.pointer, true);
hasType<`cuda:${number}`>()(tensor32.device, true);
hasType<readonly number[]>()(tensor32.shape, true);
const anyTensor: DeviceTensor<Dtype> = indices;
void anyTensor;
const disposable: { [Symbol.dispose](): void } = tensor32;
void disposable;

const device = cudaDevice();
hasType<Tensor32>()(device.tensor(float32, { shape: [2, 3] }), true);
hasType<Tensor64>()(device.tensor(rows), true);
hasType<Tensor64>()(device.tensor(ortTensor), true);
hasType<Tensor32>()(device.tensor(tensor), true);
hasType<Tensor32>()(device.tensor(rows, { dtype: 'float32' }), true);
hasType<DeviceTensor<'int32'>>()(device.tensor(Int32Array.of(1)), true);
hasType<Tensor32>()(device.empty([2, 3]), true);
hasType<DeviceTensor<'int32'>>()(device.empty([2], { dtype: 'int32' }), true);
hasType<Promise<void>>()(device.synchronize(), true);
hasType<Tensor32>()(DeviceTensor.fromPointer(8n, { shape: [2] }), true);
hasType<Tensor64>()(DeviceTensor.fromPointer(8n, { shape: [2], dtype: 'float64', device: 'cuda:0' }), true);

hasType<Float32Array<ArrayBuffer>>()(allocPinned('float32', 3), true);
hasType<Float64Array<ArrayBuffer>>()(allocPinned(Float64Array, 3), true);
declare const floatDtype: FloatDtype;
hasType<Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>()(allocPinned(floatDtype, 3), true);
hasType<boolean>()(isPinned(new Int8Array(3)), true);
// @ts-expect-error -- no typed array
isPinned([1, 2]);
setDefaultDevice('cuda:1');
setAutoCosts({ upload: 1e9 });

// What is refused.
// @ts-expect-error -- indices are no logits
softmax(indices);
// @ts-expect-error -- the result of a tensor is a tensor
softmax(tensor32, { out: float32 });
// @ts-expect-error -- and that of an array an array
softmax(float32, { out: tensor32 });
// @ts-expect-error -- a tensor of another type
softmax(tensor32, { out: tensor64 });
// @ts-expect-error -- indices in an array
rowMax(tensor32, { out: { argmax: new Int32Array(1) } });
// @ts-expect-error -- no such device
softmax(float32, { device: 'gpu' });
// @ts-expect-error -- no such device
setDefaultDevice('gpu');
// @ts-expect-error -- tensors are made by a device
void new DeviceTensor();
// @ts-expect-error -- a tensor of a tensor
device.tensor(tensor32);
// @ts-expect-error -- no such element type
device.empty([2], { dtype: 'float16' });
// @ts-expect-error -- an address is a bigint
DeviceTensor.fromPointer(8, { shape: [2] });
// @ts-expect-error -- integers are not computed with
allocPinned('int32', 3);
// @ts-expect-error -- an array of another type
tensor32.dataSync(float64);
// @ts-expect-error -- integers
softmax(new Int32Array(3));
// @ts-expect-error -- strings
softmax(['1']);
// @ts-expect-error -- deeper arrays
softmax([[[1]]]);
// @ts-expect-error -- data of plain numbers
softmax({ data: [1, 2], shape: [2] });
// @ts-expect-error -- data without a shape
softmax({ data: float32 });
// @ts-expect-error -- out of another type
softmax(float32, { out: float64 });
// @ts-expect-error -- plain numbers are computed in float64
softmax(numbers, { out: float32 });
// @ts-expect-error -- an object for an array
softmax(float32, { out: tensor });
// @ts-expect-error -- plain numbers are not written
softmax(numbers, { out: numbers });
// @ts-expect-error -- a misspelt option
softmax(float32, { axes: 1 });
// @ts-expect-error -- a misspelt option beside out
softmax(float32, { out: float32, axes: 1 });
// @ts-expect-error -- a shape of another type
softmax(float32, { shape: 3 });
// @ts-expect-error -- the Jacobian is that of the last axis
softmaxJacobian(float32, { axis: 0 });
// @ts-expect-error -- indices are 32-bit integers
rowMax(float32, { out: { argmax: new Uint32Array(1) } });
// @ts-expect-error -- max has the type of x
rowMax(float32, { out: { max: float64 } });
// @ts-expect-error -- the input is not written
softmax(float32)[0] = '1';

// What deviceInfo says depends on the back end.
const info = deviceInfo();
hasType<'cpu' | 'none'>()(info.backend, true);
if (info.backend === 'cpu') hasType<string>()(info.isa, true);
else hasType<string>()(info.reason, true);
// @ts-expect-error -- without a back end there is no instruction set
void info.isa;

hasType<Device>()(info.defaultDevice, true);
setDefaultDevice(info.defaultDevice);

if (info.cuda.available) {
  hasType<string>()(info.cuda.driverVersion, true);
  hasType<'cpu' | 'cuda' | undefined>()(info.cuda.auto.choices[0]?.device, true);
} else {
  hasType<string>()(info.cuda.reason, true);
}

declare const cudaError: CudaError;
hasType<number>()(cudaError.cudaCode, true);
const known: SoftmaxNativeError = cudaError;
void known;

declare const error: SoftmaxNativeError;
hasType<ErrorCode>()(error.code, true);
