// Calls on tensors: what x, `out` and the option `device` must be. A tensor is computed on the GPU where it is.
import { describe, invalidType, outOfRange, shapeMismatch } from './errors.ts';
import { agreed } from './input.ts';
import { isSameShape, layoutOf, shapeText, type Layout, type Shape } from './shape.ts';
import { gpuOf, isDeviceTensor, type DeviceTensor, type Dtype } from './tensor.ts';

/** A tensor x as the operations need it. */
export interface TensorInput {
  readonly x: DeviceTensor;
  readonly layout: Layout;
}

/** Checks the tensor x and the options that say how its rows lie and where to compute. */
export function readTensorInput(
  x: DeviceTensor<Dtype>,
  shape: unknown,
  axis: unknown,
  device: unknown,
): TensorInput {
  if (x.dtype === 'int32') throw invalidType('a tensor of float32 or float64', 'x', x);
  checkDevice(device, x);
  return { x: x as DeviceTensor, layout: layoutOf(agreed(shape, x.shape), axis, x.length) };
}

function checkDevice(device: unknown, { device: own }: DeviceTensor<Dtype>): void {
  if (device === undefined || device === 'auto' || device === 'cuda' || device === own) return;
  if (typeof device !== 'string') throw invalidType(`'${own}'`, 'device', device);
  throw outOfRange(`'${own}', where x is (its data() gives an array for the CPU),`, 'device', device);
}

/** A tensor of the caller's for a result, on the GPU of x; undefined where there is none. */
export function readTensorOut<D extends Dtype>(
  out: unknown,
  x: DeviceTensor,
  dtype: D,
  shape: Shape,
  name: string,
): DeviceTensor<D> | undefined {
  if (out === undefined) return undefined;
  if (!isDeviceTensor(out) || out.dtype !== dtype || gpuOf(out) !== gpuOf(x)) {
    throw invalidType(`a tensor of ${dtype} on ${x.device}`, name, out);
  }
  if (!isSameShape(out.shape, shape)) {
    throw shapeMismatch(`the result's shape, ${shapeText(shape)},`, `${name}.shape`, describe(out.shape));
  }
  return out as DeviceTensor<D>;
}
