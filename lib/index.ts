// softmax-native: softmax, row maxima and the Jacobian of softmax, computed by native code on typed arrays where they
// are, on the CPU or on a GPU.
export type { AutoCosts, Operation } from './auto.ts';
export type { FloatArray } from './binding.ts';
export { setAutoCosts, type AutoChoice, type AutoInfo } from './choosing.ts';
export {
  cudaDevice,
  type CudaDevice,
  type DtypeOf,
  type EmptyOptions,
  type TensorOptions,
} from './cudaDevice.ts';
export {
  deviceInfo,
  type CpuInfo,
  type CudaInfo,
  type GpuInfo,
  type NoCudaInfo,
  type NoDeviceInfo,
} from './device.ts';
export { CudaError, type ErrorCode, type SoftmaxNativeError } from './errors.ts';
export type {
  DimsTensor,
  ElementArray,
  HostLogits,
  IndexArray,
  Like,
  Logits,
  OutFor,
  Tensor,
  Writable,
} from './input.ts';
export { softmaxJacobian, type JacobianLike, type SoftmaxJacobianOptions } from './jacobian.ts';
export type { CallOptions } from './options.ts';
export { allocPinned, isPinned } from './pinned.ts';
export { setDefaultDevice, type Device } from './placement.ts';
export { rowMax, type RowMax, type RowMaxOptions, type RowMaxOut } from './rowMax.ts';
export type { Shape } from './shape.ts';
export { softmax, type SoftmaxOptions } from './softmax.ts';
export { DeviceTensor, type ArrayOf, type Dtype, type FloatDtype, type PointerOptions } from './tensor.ts';
