// deviceInfo: what computes, and how.
import { createRequire } from 'node:module';
import { native, type NativeCudaInfo } from './binding.ts';
import { autoInfo, type AutoInfo } from './choosing.ts';
import { describe } from './errors.ts';
import { lookForGpus, nameOf, versionText } from './gpus.ts';
import { defaultDevice, type Device } from './placement.ts';
import { defaultThreads } from './threads.ts';

interface CommonInfo {
  /** The version of this package. */
  version: string;
  /** The most threads that a call uses unless it says otherwise. */
  threads: number;
  /** The instruction sets that this build holds and this processor has, the best one last. */
  availableIsas: string[];
  /** The GPUs, or why none is used. */
  cuda: CudaInfo | NoCudaInfo;
  /**
   * Where calls compute that do not say it: 'auto', or what setDefaultDevice or SOFTMAX_NATIVE_DEVICE says. Another value
   * of that variable is given as it is; such calls then throw.
   */
  defaultDevice: Device;
}

/** Versions, as 13.0. */
interface CudaVersions {
  /** The newest CUDA that the driver supports. */
  driverVersion: string;
  /** The CUDA that this build holds. */
  runtimeVersion: string;
  /** The oldest driver for this build, such as r580. */
  minimumDriver: string;
}

/** There is a GPU that can be used. */
export interface CudaInfo extends CudaVersions {
  /** Tells it from NoCudaInfo. */
  available: true;
  /** The GPUs that CUDA shows, in its order. */
  devices: GpuInfo[];
  /** How 'auto' chooses between the first GPU that can be used and the CPU. */
  auto: AutoInfo;
}

/** There is no GPU that can be used: `device: 'cuda'` throws, and the rest is computed on the CPU. */
export interface NoCudaInfo extends Partial<CudaVersions> {
  /** Tells it from CudaInfo. */
  available: false;
  /** Why, in words. */
  reason: string;
}

/** A GPU that CUDA shows. */
export interface GpuInfo {
  /** Its name in the option `device`. */
  device: `cuda:${number}`;
  /** Its name, as the driver gives it. */
  name: string;
  /** Such as 9.0. */
  computeCapability: string;
  /** In bytes. */
  memory: number;
  /** How many it has. */
  multiprocessors: number;
  /** Whether it can be used. */
  usable: boolean;
  /** Why it cannot be used, where it cannot. */
  reason?: string;
}

/** The native library is loaded: the CPU computes, and the GPUs that `cuda` lists. */
export interface CpuInfo extends CommonInfo {
  /** Tells it from NoDeviceInfo. */
  backend: 'cpu';
  /** The instruction set in use: the best one, or the one that the environment variable SOFTMAX_NATIVE_ISA names. */
  isa: string;
  /**
   * True when no idle thread takes processor time between calls; false where OMP_WAIT_POLICY=active asks that they
   * spin, which makes calls that follow each other closely faster.
   */
  passiveWait: boolean;
}

/**
 * The native library could not be loaded, or not as SOFTMAX_NATIVE_ISA asks: every function that computes throws, and
 * `reason` says why.
 */
export interface NoDeviceInfo extends CommonInfo {
  /** Tells it from CpuInfo. */
  backend: 'none';
  /** Why, in words. */
  reason: string;
}

/**
 * What computes the results: the instruction set, the number of threads, and the GPUs, or why there is none. Results
 * are the same bits everywhere. GPUs are looked for, but none is started.
 *
 * It never throws: where the native library cannot be loaded, `backend` is 'none' and `reason` says why.
 *
 * @example
 * ```ts
 * import { deviceInfo } from 'softmax-native';
 *
 * const { backend, cuda } = deviceInfo();
 * backend;
 * // => 'cpu'
 *
 * cuda.available || cuda.reason.length > 0;
 * // => true
 * ```
 */
export function deviceInfo(): CpuInfo | NoDeviceInfo {
  const threads = defaultThreads();
  const common = { version: packageVersion(), defaultDevice: defaultDevice() };
  try {
    const info = native().cpuInfo();
    // Without OpenMP, or without a waiting policy for its threads, there is the calling thread only.
    const used = info.threads ? threads : 1;
    return {
      backend: 'cpu',
      isa: info.isa,
      availableIsas: info.available,
      threads: used,
      passiveWait: info.passiveWait,
      cuda: cudaInfo(used),
      ...common,
    };
  } catch (error) {
    const reason = messageOf(error);
    const cuda: NoCudaInfo = { available: false, reason: 'The native library cannot be used.' };
    return { backend: 'none', reason, availableIsas: [], threads, cuda, ...common };
  }
}

function cudaInfo(threads: number): CudaInfo | NoCudaInfo {
  try {
    const { info, usable, reason } = lookForGpus();
    const [first] = usable;
    if (first === undefined) return { available: false, reason: String(reason), ...versionsOf(info) };
    const devices = info.devices.map((gpu, index): GpuInfo => {
      const { name, computeCapability, memory, multiprocessors } = gpu;
      const usability = gpu.reason === undefined ? { usable: true } : { usable: false, reason: gpu.reason };
      return { device: nameOf(index), name, computeCapability, memory, multiprocessors, ...usability };
    });
    return { available: true, ...versions(info), devices, auto: autoInfo(first, threads) };
  } catch (error) {
    return { available: false, reason: messageOf(error) };
  }
}

function versions({ driverVersion, runtimeVersion, minimumDriver }: NativeCudaInfo): CudaVersions {
  return {
    driverVersion: versionText(driverVersion),
    runtimeVersion: versionText(runtimeVersion),
    minimumDriver,
  };
}

/** Those that there are: a build without CUDA has no runtime, a machine without NVIDIA's driver has no driver. */
function versionsOf(info: NativeCudaInfo): Partial<CudaVersions> {
  if (!info.built) return {};
  const { driverVersion, ...own } = versions(info);
  return info.driverVersion === 0 ? own : { driverVersion, ...own };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : describe(error);
}

export function packageVersion(): string {
  try {
    return (createRequire(import.meta.url)('../package.json') as { version: string }).version;
  } catch {
    return 'unknown';
  }
}
