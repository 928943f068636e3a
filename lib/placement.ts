// Where a call computes: on the CPU or on which GPU. The option `device` says so, or the default that setDefaultDevice
// or the environment variable SOFTMAX_NATIVE_DEVICE sets, or else, by 'auto', choosing.ts.
import { types } from 'node:util';
import { leastElementsForGpu } from './auto.ts';
import type { NativeCuda } from './binding.ts';
import { chooseGpu, giveUp, type HostCall } from './choosing.ts';
import { CudaError, invalidType, outOfRange, wroteNothing } from './errors.ts';
import { onCuda, requireGpu } from './gpus.ts';

/** Where to compute: 'cuda' is the first GPU that can be used, 'cuda:1' the second one of the machine. */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;

/** The index of a GPU, or one of these. */
export type Place = number;
export const onCpu = -1;
export const byCost = -2;

const accepted = "'auto', 'cpu', 'cuda' or 'cuda:N'";

let byDefault: Device | undefined;
let defaultName = 'SOFTMAX_NATIVE_DEVICE';

/** What counts where a call does not say: 'auto', unless a program or the environment has said otherwise. */
export function defaultDevice(): Device {
  byDefault ??= (process.env['SOFTMAX_NATIVE_DEVICE'] as Device | undefined) || 'auto';
  return byDefault;
}

/**
 * Sets where calls compute that do not say it with the option `device`. It replaces the environment variable
 * SOFTMAX_NATIVE_DEVICE, and holds for the thread that calls it. Results are the same bits everywhere.
 *
 * @param device - 'auto', 'cpu', 'cuda' (the first GPU that can be used) or 'cuda:N'
 * @throws TypeError `ERR_INVALID_ARG_TYPE` and RangeError `ERR_OUT_OF_RANGE` for anything else; Error
 *   `ERR_CUDA_UNAVAILABLE`, which says why, for a GPU that cannot be used. The default stays what it was then.
 *
 * @example
 * ```ts
 * import { deviceInfo, setDefaultDevice } from 'softmax-native';
 *
 * setDefaultDevice('cpu');
 * deviceInfo().defaultDevice;
 * // => 'cpu'
 *
 * setDefaultDevice('auto');
 * ```
 */
export function setDefaultDevice(device: Device): void {
  placeOf(device, 'device');
  byDefault = device;
  defaultName = 'the default device';
}

/** Reads the option `device`. A GPU that it names can be used. */
export function readDevice(device: unknown): Place {
  if (device === undefined) return byDefault === 'auto' ? byCost : defaultPlace();
  return placeOf(device, 'device');
}

function defaultPlace(): Place {
  return placeOf(defaultDevice(), defaultName);
}

/** Reads an option that names a GPU, by default the first that can be used. */
export function readGpu(device: unknown): number {
  const place = device === undefined ? requireGpu(undefined, "device 'cuda'") : placeOf(device, 'device');
  if (place < 0) throw outOfRange("'cuda' or 'cuda:N'", 'device', device);
  return place;
}

function placeOf(device: unknown, name: string): Place {
  if (typeof device !== 'string') throw invalidType(accepted, name, device);
  if (device === 'auto') return byCost;
  if (device === 'cpu') return onCpu;
  if (device === 'cuda') return requireGpu(undefined, `${name} 'cuda'`);
  const index = /^cuda:(\d{1,3})$/.exec(device)?.[1];
  if (index === undefined) throw outOfRange(accepted, name, device);
  return requireGpu(Number(index), `${name} '${device}'`);
}

/** Whether a call may have to be computed on a GPU. Nearly every call ends here, after a comparison or two. */
export function mayUseGpu(place: Place, elements: number): boolean {
  return place >= 0 ? elements > 0 : place === byCost && elements >= leastElementsForGpu;
}

/** Computes a call on the GPU where it belongs; false where the CPU is to compute it. */
export function computeOnGpu(
  place: Place,
  call: HostCall,
  compute: (cuda: NativeCuda, gpu: number) => void,
): boolean {
  const gpu = place === byCost ? chooseGpu(call) : place;
  if (gpu === undefined) return false;
  try {
    onCuda((cuda) => compute(cuda, gpu));
    return true;
  } catch (error) {
    leaveToCpu(error, place, call);
    return false;
  }
}

/** After a failure of the GPU: throws it, unless 'auto' chose the GPU and the CPU can still compute the call. */
export function leaveToCpu(error: unknown, place: Place, call: HostCall): void {
  if (place !== byCost || !(error instanceof CudaError)) throw error;
  giveUp(error);
  // In place, logits may have been overwritten; else the CPU gives what the GPU did not.
  if (mayBeInPlace(call) && !wroteNothing(error)) throw error;
}

/** Any other overlap was refused. Two objects may stand for one shared memory. */
function mayBeInPlace({ operation, x, result }: HostCall): boolean {
  if (operation !== 'softmax' || x.byteOffset !== result.byteOffset) return false;
  return x.buffer === result.buffer || [x, result].every(({ buffer }) => types.isSharedArrayBuffer(buffer));
}
