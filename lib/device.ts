// deviceInfo: what computes, and how.
import { createRequire } from 'node:module';
import { native } from './binding.ts';
import { describe } from './errors.ts';
import { defaultThreads } from './threads.ts';

interface CommonInfo {
  /** The version of this package. */
  version: string;
  /** The most threads that a call uses unless it says otherwise. */
  threads: number;
  /** The instruction sets that this build holds and this processor has, the best one last. */
  availableIsas: string[];
  /** Whether GPUs are used, and why not. */
  cuda: { available: false; reason: string };
}

/** The native library is loaded, and the CPU computes. */
export interface CpuInfo extends CommonInfo {
  backend: 'cpu';
  /** The instruction set in use: the best one, or the one that the environment variable SOFTMAX_NATIVE_ISA names. */
  isa: string;
  /**
   * True when no idle thread takes processor time between calls; false where OMP_WAIT_POLICY=active asks that they
   * spin, which makes calls that follow each other closely faster.
   */
  passiveWait: boolean;
}

/** The native library could not be loaded, or not as SOFTMAX_NATIVE_ISA asks: every function that computes throws, and `reason` says why. */
export interface NoDeviceInfo extends CommonInfo {
  backend: 'none';
  reason: string;
}

/**
 * What computes the results: the instruction set, the number of threads, and why no GPU does. Results are the same
 * bits for every instruction set and every number of threads.
 *
 * It never throws: where the native library cannot be loaded, `backend` is 'none' and `reason` says why.
 *
 * @example
 * ```ts
 * import { deviceInfo } from 'softmax-native';
 *
 * deviceInfo().backend;
 * // => 'cpu'
 * ```
 */
export function deviceInfo(): CpuInfo | NoDeviceInfo {
  const version = packageVersion();
  const threads = defaultThreads();
  const reason = 'This build has no CUDA kernels yet: everything is computed on the CPU.';
  const cuda = { available: false, reason } as const;
  try {
    const info = native().cpuInfo();
    return {
      backend: 'cpu',
      isa: info.isa,
      availableIsas: info.available,
      // Without OpenMP, or without a waiting policy for its threads, there is the calling thread only.
      threads: info.threads ? threads : 1,
      passiveWait: info.passiveWait,
      cuda,
      version,
    };
  } catch (error) {
    const text = error instanceof Error ? error.message : describe(error);
    return { backend: 'none', reason: text, availableIsas: [], threads, cuda, version };
  }
}

function packageVersion(): string {
  try {
    return (createRequire(import.meta.url)('../package.json') as { version: string }).version;
  } catch {
    return 'unknown';
  }
}
