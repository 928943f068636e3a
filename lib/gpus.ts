// The GPUs of this machine: which can be used, and in words why one, or all of them, cannot.
import { native, type NativeCuda, type NativeCudaInfo, type NativeGpu } from './binding.ts';
import { CudaError, fromNative, unavailable } from './errors.ts';

export interface Gpus {
  readonly info: NativeCudaInfo;
  /** The indices of those that can be used, the first of which is the one that 'cuda' means. */
  readonly usable: readonly number[];
  /** Why there is none; undefined where there is one. */
  readonly reason: string | undefined;
}

let found: Gpus | undefined;

/**
 * The GPUs, looked for once. A process that finds a driver or GPUs, and can use none, is warned once, as it may never
 * hear of it otherwise: its calls are computed on the CPU.
 */
export function gpus(): Gpus {
  found ??= lookForGpus();
  return found;
}

/** What is known without looking: undefined before the first look, and after a failure. */
export function lookedForGpus(): Gpus | undefined {
  return found;
}

/** Looks again: a GPU may have been lost since. */
export function lookForGpus(): Gpus {
  const { cuda } = native();
  const info = cuda.info();
  const usable = info.devices.flatMap(({ reason }, index) => (reason === undefined ? [index] : []));
  const reason = usable.length > 0 ? undefined : reasonOf(info);
  if (reason !== undefined && isThereOne(info) && cuda.takeWarning()) warn(`No GPU is used: ${reason}`);
  return (found = { info, usable, reason });
}

/** Whether there is a GPU, or may be one: a driver that is installed and does not work cannot tell. */
function isThereOne({ error, driverVersion, devices }: NativeCudaInfo): boolean {
  return error === undefined ? devices.length > 0 : driverVersion > 0 && error.code !== noDevice;
}

/** Checks that a GPU can be used; without an index it is the first one that can. */
export function requireGpu(index: number | undefined, name: string): number {
  const { info, usable, reason } = gpus();
  const [first] = usable;
  if (first === undefined) throw unavailable(name, String(reason));
  if (index === undefined) return first;
  if (usable.includes(index)) return index;
  const gpu = info.devices[index];
  const present = info.devices.map((_, i) => nameOf(i)).join(', ');
  throw unavailable(name, gpu === undefined ? `there is only ${present}.` : describeGpu(gpu, index));
}

/**
 * Calls a native function that uses a GPU, and turns what CUDA reports into a CudaError. After one it is no longer
 * known which GPUs can be used.
 */
export function onCuda<Result>(call: (cuda: NativeCuda) => Result): Result {
  try {
    return call(native().cuda);
  } catch (error) {
    throw failed(error);
  }
}

/** As onCuda, for what ends later. */
export async function onCudaAsync<Result>(call: (cuda: NativeCuda) => Promise<Result>): Promise<Result> {
  try {
    return await call(native().cuda);
  } catch (error) {
    throw failed(error);
  }
}

/** The name of a GPU in options: cuda:0. */
export function nameOf(index: number): `cuda:${number}` {
  return `cuda:${index}`;
}

/** 13000 as 13.0, 12080 as 12.8. */
export function versionText(version: number): string {
  return `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;
}

export function warn(text: string): void {
  process.emitWarning(text, { code: 'SOFTMAX_CUDA_UNUSABLE' });
}

function failed(error: unknown): unknown {
  const thrown = fromNative(error);
  if (thrown instanceof CudaError) found = undefined;
  return thrown;
}

const insufficientDriver = 35; // cudaErrorInsufficientDriver, also where there is no driver
const noDevice = 100; // cudaErrorNoDevice

function reasonOf({
  built,
  error,
  driverVersion,
  runtimeVersion,
  minimumDriver,
  devices,
}: NativeCudaInfo): string {
  if (!built) return 'This build has no CUDA kernels: it was compiled without CUDA.';
  const needed = `this build needs driver ${minimumDriver} or later, for CUDA ${versionText(runtimeVersion)}.`;
  if (error?.code === insufficientDriver) {
    return driverVersion === 0
      ? `There is no NVIDIA driver; ${needed}`
      : `The NVIDIA driver is too old, it supports CUDA ${versionText(driverVersion)}: ${needed}`;
  }
  if (error !== undefined && error.code !== noDevice) {
    return `The NVIDIA driver cannot be used: ${error.name} (${error.code}): ${error.text}.`;
  }
  if (devices.length > 0) return devices.map(describeGpu).join(' ');
  const visible = process.env['CUDA_VISIBLE_DEVICES'];
  const hidden = visible === undefined ? '' : `; CUDA_VISIBLE_DEVICES is '${visible}'`;
  return `The NVIDIA driver shows no GPU${hidden}.`;
}

function describeGpu({ name, reason }: NativeGpu, index: number): string {
  return `${nameOf(index)}, ${name}, cannot be used: ${reason}.`;
}
