// Calls in the background: their options, and whether they compute at once, by a job on the CPU, or by one on a GPU.
import type { FloatArray, NativeJob, NativeJobs } from './binding.ts';
import { chooseGpu, giveUp, mightUseGpu, type HostCall } from './choosing.ts';
import { aborted, CudaError, invalidType } from './errors.ts';
import { gpus, lookedForGpus, onCudaAsync } from './gpus.ts';
import { Progress, runCudaJob, runJob, type Ended, type Signal, type Watch } from './jobs.ts';
import type { Options } from './options.ts';
import { byCost, leaveToCpu, mayUseGpu, type Place } from './placement.ts';
import { gpuOf, type DeviceTensor, type Dtype } from './tensor.ts';

/** What the functions of `softmax-native/promises` take beside the options of the synchronous ones. */
export interface BackgroundOptions {
  /**
   * An AbortSignal. It stops the call: its promise is rejected with an AbortError (code `ABORT_ERR`, `cause` the
   * signal's reason) as soon as nothing uses its memory any more, some milliseconds later, or when a longer step that is
   * under way is done: 128 columns along another axis, a row of rowMax, a piece of an array on a GPU. What `out` then
   * holds is not known where it is shared memory; other arrays are as they were. A call on a tensor is not stopped once
   * it has begun.
   */
  signal?: Signal | undefined;
  /**
   * Is told how many of the call's elements (of x, or of the Jacobians) are done, and how many there are: twenty times a
   * second at most while it computes, and once at its end, with the same number twice. What it throws stops the call,
   * which is rejected with that.
   */
  onProgress?: ((done: number, total: number) => void) | undefined;
  /**
   * Hands the memory of x over to the call, in place of a copy of it: x, and every other view of its buffer, is detached
   * at once and stays so, as with `postMessage`. The result of softmax takes that memory where no `out` is given.
   * Shared memory is neither copied nor detached, and for plain numbers it makes no difference. False is the default.
   */
  transfer?: boolean | undefined;
}

/** The options of a call. */
export interface Background {
  readonly signal: Signal | undefined;
  readonly progress: Progress | undefined;
  readonly transfer: boolean;
}

/** The names of the options that calls in the background have beside others. */
export const backgroundOptions = ['signal', 'onProgress', 'transfer'] as const;

export function readBackground(options: Options): Background {
  const { signal, onProgress, transfer } = options;
  if (signal !== undefined && !isSignal(signal)) throw invalidType('an AbortSignal', 'signal', signal);
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw invalidType('a function', 'onProgress', onProgress);
  }
  if (transfer !== undefined && typeof transfer !== 'boolean') {
    throw invalidType('a boolean', 'transfer', transfer);
  }
  const progress = onProgress && new Progress(onProgress as ConstructorParameters<typeof Progress>[0]);
  return { signal, progress, transfer: transfer === true };
}

/** Of any realm, and of a library that stands for the class. */
function isSignal(value: unknown): value is Signal {
  if (typeof value !== 'object' || value === null) return false;
  const { aborted: state, addEventListener, removeEventListener } = value as Record<string, unknown>;
  return (
    [typeof state, typeof addEventListener, typeof removeEventListener].join() === 'boolean,function,function'
  );
}

export function throwIfAborted({ signal }: Background): void {
  if (signal?.aborted === true) throw aborted(signal.reason);
}

/**
 * In bytes of x, or of the Jacobians. What is computed in less time than it takes to hand it to another thread and back,
 * about 20 microseconds, is computed at once.
 */
let quickBytes = 2 ** 16;

/** For tests: with 0 every call is handed to another thread. */
export function setQuickBytes(bytes: number): void {
  quickBytes = bytes;
}

/** Whether a call is computed at once, on the arrays as they are. */
export function isQuick(place: Place, elements: number, x: FloatArray, { transfer }: Background): boolean {
  return !transfer && elements * x.BYTES_PER_ELEMENT <= quickBytes && !mayUseGpu(place, elements);
}

/** Whether a call may be computed on a GPU, as far as is known without looking for one or measuring it. */
export function isForGpu(place: Place, elements: number, call: HostCall): boolean {
  if (!mayUseGpu(place, elements)) return false;
  if (place !== byCost) return true;
  return mightUseGpu({ ...call, areCopies: true }, (gpu) => prepared.has(gpu));
}

/** A call's jobs, by where they compute. */
export interface JobsOfCall {
  cuda(this: void, jobs: NativeJobs, gpu: number): NativeJob;
  cpu(this: void, jobs: NativeJobs): NativeJob;
}

/**
 * Computes a call by a job, on a GPU if it may and should be there.
 *
 * @param forGpu - what isForGpu says
 * @param total - the elements of the call, for its progress
 */
export async function compute(
  place: Place,
  forGpu: boolean,
  call: HostCall,
  watch: Watch,
  total: number,
  jobs: JobsOfCall,
): Promise<void> {
  const gpu = !forGpu ? undefined : place === byCost ? await chosenGpu(call, watch) : place;
  const onGpu = async (index: number): Promise<Ended | undefined> => {
    try {
      return await runCudaJob(watch, total, (begin) => jobs.cuda(begin, index));
    } catch (error) {
      leaveToCpu(error, place, call);
      return undefined;
    }
  };
  const ended = gpu === undefined ? undefined : await onGpu(gpu);
  const { thrown } = ended ?? (await runJob(watch, total, jobs.cpu));
  if (thrown !== undefined) throw thrown.error;
}

/** GPUs whose costs are known. */
const prepared = new Set<number>();

/** As chooseGpu; the driver is loaded, and the GPU started, by a job. */
async function chosenGpu(call: HostCall, { signal }: Watch): Promise<number | undefined> {
  const quiet = { signal, progress: undefined };
  try {
    if (lookedForGpus() === undefined) await runCudaJob(quiet, 0, (jobs) => jobs.cudaLook());
    const [gpu] = gpus().usable;
    if (gpu === undefined) return undefined;
    if (!prepared.has(gpu)) await runCudaJob(quiet, 0, (jobs) => jobs.cudaStart(gpu));
    prepared.add(gpu);
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
    giveUp(error);
  }
  return chooseGpu(call);
}

/**
 * Makes a call on tensors, and waits until the GPU of x has computed it.
 *
 * @param total - the elements of the call
 */
export async function computeOnTensor<Result>(
  x: DeviceTensor<Dtype>,
  background: Background,
  total: number,
  call: () => Result,
): Promise<Result> {
  const result = call();
  await onCudaAsync((cuda) => cuda.synchronize(gpuOf(x)));
  return finished(background, total, result);
}

/** The last report of a call, with its result. */
export function finished<Result>({ progress }: Background, total: number, result: Result): Result {
  progress?.finish(total);
  return result;
}
