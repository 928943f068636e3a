// Loads the native library: the only file that does. A failure is kept and thrown by the first call that computes,
// so that the package can be imported, and deviceInfo() asked, where the library cannot be loaded.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import type { AutoCosts } from './auto.ts';
import { nativeLibrary } from './errors.ts';
import { type Attempt, candidates, libcOf, loadFirst } from './loader.ts';

/** The arrays of logits and probabilities. */
export type FloatArray = Float32Array | Float64Array;

/**
 * The native functions take positional primitives. Element (o, j, i) of x lies at (o * k + j) * inner + i. They check
 * types, lengths and overlap again before anything is written. `isNew`: `out` was allocated for this call; how it is
 * written depends on that, and no bit of it.
 */
export interface NativeLibrary {
  softmax(
    x: FloatArray,
    out: FloatArray,
    outer: number,
    k: number,
    inner: number,
    threads: number,
    isNew?: boolean,
  ): void;
  rowMax(
    x: FloatArray,
    max: FloatArray,
    argmax: Int32Array | undefined,
    outer: number,
    k: number,
    inner: number,
    threads: number,
  ): void;
  softmaxJacobian(
    x: FloatArray,
    out: FloatArray,
    rows: number,
    k: number,
    threads: number,
    isNew?: boolean,
  ): void;
  small: NativeSmallCalls;
  jobs: NativeJobs;
  /** For a large new array, before its first element is written: makes its memory cheaper to use. */
  prepareResult(array: FloatArray | Int32Array): void;
  /** For tests: the work in nanoseconds, 35,000 at first, that is worth one more thread. */
  setWorkPerThread(nanoseconds: number): void;
  /** For tests: the size of results in bytes, 8 MiB at first, that are written past the caches; a sixteenth for new ones. */
  setPastCachesFrom(bytes: number): void;
  cpuInfo(): { isa: string; available: string[]; threads: boolean; passiveWait: boolean };
  cuda: NativeCuda;
}

/**
 * Calls on a few elements, without arguments: sizes, logits and results are in these arrays, all over one buffer. Logits
 * may have as many elements as logits32 or logits64 have, Jacobians as many as results32 or results64.
 */
export interface NativeSmallCalls {
  /** outer, k, inner, and 1 for float64 or 0 for float32 */
  readonly sizes: Int32Array;
  readonly logits32: Float32Array;
  readonly logits64: Float64Array;
  readonly results32: Float32Array;
  readonly results64: Float64Array;
  /** What argmax is. */
  readonly indices: Int32Array;
  softmax(this: void): void;
  rowMax(this: void): void;
  /** With 1 as `inner`. */
  softmaxJacobian(this: void): void;
}

/** A call in the background, which ends some time after it was made. */
export interface NativeJob {
  /** True when the result is there, false when the job was stopped; or an error. Nobody uses the arrays any more then. */
  readonly promise: Promise<boolean>;
  readonly handle: object & { readonly __brand: 'job' };
}

/**
 * The operations as jobs of threads that all environments of the process share. A job uses its arrays until its promise
 * is settled, and keeps them from being collected; that nobody detaches or resizes them is the caller's business.
 */
export interface NativeJobs {
  /** How many calls that use one thread may be computed at once. It holds for the process, and the first number counts. */
  setThreads(count: number): void;
  softmax(
    x: FloatArray,
    out: FloatArray,
    outer: number,
    k: number,
    inner: number,
    threads: number,
    isNew: boolean,
  ): NativeJob;
  rowMax(
    x: FloatArray,
    max: FloatArray,
    argmax: Int32Array,
    outer: number,
    k: number,
    inner: number,
    threads: number,
  ): NativeJob;
  softmaxJacobian(
    x: FloatArray,
    out: FloatArray,
    rows: number,
    k: number,
    threads: number,
    isNew: boolean,
  ): NativeJob;
  cudaSoftmax(
    device: number,
    x: FloatArray,
    out: FloatArray,
    outer: number,
    k: number,
    inner: number,
  ): NativeJob;
  cudaRowMax(
    device: number,
    x: FloatArray,
    max: FloatArray,
    argmax: Int32Array,
    outer: number,
    k: number,
    inner: number,
  ): NativeJob;
  cudaSoftmaxJacobian(device: number, x: FloatArray, out: FloatArray, rows: number, k: number): NativeJob;
  /** Looks for GPUs, so that cuda.info() knows them at once. */
  cudaLook(): NativeJob;
  /** Makes the context of a GPU and measures its costs. */
  cudaStart(device: number): NativeJob;
  stop(handle: NativeJob['handle']): void;
  /** The elements that are done, of x or of the Jacobian; it may exceed their number a little. */
  done(handle: NativeJob['handle']): number;
  // What the functions of these names refuse, without computing anything.
  checkSoftmax(x: FloatArray, out: FloatArray, outer: number, k: number, inner: number): void;
  checkRowMax(
    x: FloatArray,
    max: FloatArray,
    argmax: Int32Array | undefined,
    outer: number,
    k: number,
    inner: number,
  ): void;
  checkSoftmaxJacobian(x: FloatArray, out: FloatArray, rows: number, k: number): void;
  /** Copies an array to the first elements of another one, a large one on several threads. */
  copy(from: FloatArray | Int32Array, to: FloatArray | Int32Array): void;
}

/** Memory of a GPU, freed by `free` or with this object. Only the environment that got it may use it. */
export type NativeMemory = object & { readonly __brand: 'device memory' };

/** Element types, as the native functions number them. */
export type NativeDtype = 0 | 1 | 2;

/**
 * The GPUs. In a build without CUDA kernels `info` says so and every other function throws. A failure of CUDA is an
 * Error with the code ERR_CUDA, cudaCode and cudaName, and with wroteNothing where a call on host arrays has left them as
 * they were.
 */
export interface NativeCuda {
  /** Looks for GPUs at the first call; makes no context and never throws. */
  info(): NativeCudaInfo;
  /** True once in a process: whoever gets it prints the warning. */
  takeWarning(): boolean;
  /** Makes the context, stream and memory pool of a GPU, which every function below does by itself. */
  start(device: number): void;
  isStarted(device: number): boolean;
  /** Measured once for each GPU of a process. */
  costs(device: number): AutoCosts;
  // Host arrays, in pieces whose upload, kernel and download overlap. They return when the result is there.
  softmax(device: number, x: FloatArray, out: FloatArray, outer: number, k: number, inner: number): void;
  rowMax(
    device: number,
    x: FloatArray,
    max: FloatArray,
    argmax: Int32Array | undefined,
    outer: number,
    k: number,
    inner: number,
  ): void;
  softmaxJacobian(device: number, x: FloatArray, out: FloatArray, rows: number, k: number): void;
  allocate(device: number, bytes: number): NativeMemory;
  /** Memory that the caller keeps alive; it must be device memory of that GPU. */
  fromPointer(device: number, pointer: bigint, bytes: number): NativeMemory;
  free(memory: NativeMemory): void;
  pointer(memory: NativeMemory): bigint;
  /** The array may be changed when this returns. */
  upload(memory: NativeMemory, array: FloatArray | Int32Array): void;
  /** Fills the first `length` elements. */
  downloadSync(memory: NativeMemory, array: FloatArray | Int32Array, length: number): void;
  /** Fills the array while the event loop goes on. Nobody may use it until then. */
  download(memory: NativeMemory, array: FloatArray | Int32Array): Promise<void>;
  synchronize(device: number): Promise<void>;
  // Device memory: enqueued on the environment's stream.
  tensorSoftmax(
    x: NativeMemory,
    out: NativeMemory,
    dtype: NativeDtype,
    outer: number,
    k: number,
    inner: number,
  ): void;
  tensorRowMax(
    x: NativeMemory,
    max: NativeMemory,
    argmax: NativeMemory | undefined,
    dtype: NativeDtype,
    outer: number,
    k: number,
    inner: number,
  ): void;
  tensorSoftmaxJacobian(
    x: NativeMemory,
    out: NativeMemory,
    dtype: NativeDtype,
    rows: number,
    k: number,
  ): void;
  /** Page-locked memory, freed with the array's buffer; undefined where the runtime takes no memory of others. */
  allocatePinned(dtype: NativeDtype, length: number): FloatArray | Int32Array | undefined;
}

export interface NativeCudaInfo {
  /** False where the library holds no kernels. */
  built: boolean;
  /** 13000 is CUDA 13.0; the driver's is the newest that it supports, 0 without a driver. */
  runtimeVersion: number;
  driverVersion: number;
  /** The oldest driver for this build, such as r580. */
  minimumDriver: string;
  /** Why there are no devices. */
  error?: { code: number; name: string; text: string };
  devices: NativeGpu[];
}

export interface NativeGpu {
  name: string;
  /** Such as 9.0. */
  computeCapability: string;
  /** In bytes. */
  memory: number;
  multiprocessors: number;
  /** Why it cannot be used, where it cannot. */
  reason?: string;
}

// The parent of lib/ in the repository, of dist/ in the installed package. A CommonJS bundle has no import.meta.url.
const packageRoot = import.meta.url ? path.dirname(path.dirname(fileURLToPath(import.meta.url))) : undefined;

/** The file to load instead of looking for one. */
const explicitFile = process.env['SOFTMAX_NATIVE_LIBRARY'] || undefined;

/** The files that this process has mapped, each on a line; empty where the system does not list them. */
const memoryMap = readMemoryMap();

const loaded = withPassiveWaiting(() => loadFirst(filesToTry()));
const library = 'library' in loaded ? (loaded.library as NativeLibrary) : undefined;

/** The native functions; throws why where there are none. */
export function native(): NativeLibrary {
  if (library === undefined) throw explain('attempts' in loaded ? loaded.attempts : []);
  return library;
}

/**
 * OpenMP's idle threads spin by default: a program with one short call every 10 ms would keep every core busy. The
 * runtime reads its policy once, when it is loaded, and from the real environment, which only the main thread's
 * process.env changes. A policy that is already set is the user's, and stays. Where none can be set, the library uses
 * one thread.
 */
function withPassiveWaiting<Result>(load: () => Result): Result {
  if (!isMainThread || process.env['OMP_WAIT_POLICY'] !== undefined || hasOpenMp()) return load();
  process.env['OMP_WAIT_POLICY'] = 'passive';
  try {
    return load();
  } finally {
    delete process.env['OMP_WAIT_POLICY'];
  }
}

/** Whether an OpenMP runtime is in the process already, as another addon's: it has read its policy, and keeps it. */
function hasOpenMp(): boolean {
  return /lib[gi]?omp\d?\.so/.test(memoryMap);
}

function readMemoryMap(): string {
  try {
    return readFileSync('/proc/self/maps', 'latin1');
  } catch {
    return '';
  }
}

function filesToTry(): string[] {
  if (explicitFile !== undefined) return [path.resolve(explicitFile)];
  if (packageRoot === undefined) return [];
  return candidates(packageRoot, process.platform, process.arch, libcOf(memoryMap));
}

function explain(attempts: readonly Attempt[]): unknown {
  const tried = attempts.find(({ outcome }) => outcome instanceof Error);
  const error = tried?.outcome as NodeJS.ErrnoException | undefined;
  // The library was found and loaded, and says itself what is wrong.
  if (error?.code === 'ERR_UNSUPPORTED_ISA') return error;

  const next = attempts.find(({ outcome }) => outcome === 'there, but not tried');
  const text = [
    `Could not load the native library of softmax-native for ${process.platform}-${process.arch}, Node.js ${process.version}.`,
    whatIsSought(),
    ...attempts.map(({ file, outcome }) => `- ${file}: ${outcomeText(file, outcome)}`),
    'Possible solutions:',
    ...(explicitFile === undefined
      ? []
      : ['- Unset SOFTMAX_NATIVE_LIBRARY, or set it to the path of a native library of this package']),
    ...(error?.message.includes('libgomp')
      ? ['- Install the OpenMP runtime: apt-get install libgomp1, dnf install libgomp or apk add libgomp']
      : []),
    ...(tried && next ? [`- Delete ${tried.file}, so that ${next.file} is used`] : []),
    ...(packageRoot === undefined ? [external, source] : [source, external]),
  ];
  return nativeLibrary(text.join('\n'), error);
}

const external =
  '- In a bundle: mark softmax-native as external, as a bundler cannot include a native library.';
const source =
  '- Build it from source, with CMake and g++ or clang:\n      npx cmake-js@8 compile -d node_modules/softmax-native';

function whatIsSought(): string {
  if (explicitFile !== undefined) return 'SOFTMAX_NATIVE_LIBRARY names the file:';
  if (packageRoot !== undefined) return 'Looked for these files, to load the first that is there:';
  return 'This is a CommonJS bundle, in which the package does not know where its files are.';
}

/** In one line; the system's texts often begin with the name of the file. */
function outcomeText(file: string, outcome: Attempt['outcome']): string {
  const text = outcome instanceof Error ? outcome.message : outcome;
  return text
    .replace(`${file}: `, '')
    .trim()
    .replaceAll(/\s*\n\s*/g, ' ');
}
