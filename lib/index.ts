// softmax-native: softmax, row maxima and the Jacobian of softmax, computed by native code on typed arrays in place.
export { deviceInfo, type CpuInfo, type NoDeviceInfo } from './device.ts';
export type { ErrorCode, SoftmaxNativeError } from './errors.ts';
export type { DimsTensor, ElementArray, Like, Logits, OutFor, Tensor, Writable } from './input.ts';
export { softmaxJacobian, type JacobianLike, type SoftmaxJacobianOptions } from './jacobian.ts';
export type { CallOptions } from './options.ts';
export { rowMax, type RowMax, type RowMaxOptions, type RowMaxOut } from './rowMax.ts';
export type { Shape } from './shape.ts';
export { softmax, type SoftmaxOptions } from './softmax.ts';
