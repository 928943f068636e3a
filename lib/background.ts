// Calls in the background: their options, where they compute, and a job's way from its start to its end.
import { native, type FloatArray, type NativeJob, type NativeJobs } from './binding.ts';
import { chooseGpu, giveUp, mightUseGpu, type HostCall } from './choosing.ts';
import { aborted, CudaError, invalidType } from './errors.ts';
import { gpus, lookedForGpus, onCudaAsync } from './gpus.ts';
import { readOptions } from './options.ts';
import { byCost, leaveToCpu, mayUseGpu, type Place } from './placement.ts';
import { gpuOf, type DeviceTensor, type Dtype } from './tensor.ts';

/** What the functions of `softmax-native/promises` take beside the options of the synchronous ones. */
export interface BackgroundOptions {
  /**
   * Stops the call: its promise is rejected with an AbortError (code `ABORT_ERR`, `cause` the signal's reason) as soon as
   * nothing uses its memory any more, about a millisecond later; on a GPU when the piece under way is done. What `out`
   * then holds is not known where it is shared memory; other arrays are as they were. A call on a tensor is not stopped
   * once it has begun.
   */
  signal?: AbortSignal | undefined;
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

export interface Background {
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((done: number, total: number) => void) | undefined;
  readonly transfer: boolean;
}

export function readBackground(options: unknown): Background {
  const { signal, onProgress, transfer } = readOptions(options);
  if (signal !== undefined && !isSignal(signal)) throw invalidType('an AbortSignal', 'signal', signal);
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw invalidType('a function', 'onProgress', onProgress);
  }
  if (transfer !== undefined && typeof transfer !== 'boolean') {
    throw invalidType('a boolean', 'transfer', transfer);
  }
  return { signal, onProgress: onProgress as Background['onProgress'], transfer: transfer === true };
}

/** Of any realm, and of a library that stands for the class. */
function isSignal(value: unknown): value is AbortSignal {
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

/** Whether a call may be computed on a GPU, as far as is known without looking for one. */
export function isForGpu(place: Place, elements: number, call: HostCall): boolean {
  return mayUseGpu(place, elements) && (place !== byCost || mightUseGpu(call));
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
  background: Background,
  total: number,
  jobs: JobsOfCall,
): Promise<void> {
  const gpu = !forGpu ? undefined : place === byCost ? await chosenGpu(call, background) : place;
  if (gpu !== undefined) {
    try {
      await runCudaJob(background, total, (begin) => jobs.cuda(begin, gpu));
      return;
    } catch (error) {
      leaveToCpu(error, place, call);
    }
  }
  await runJob(background, total, jobs.cpu);
}

/** GPUs whose costs are known. */
const prepared = new Set<number>();

/** As chooseGpu; the driver is loaded, and the GPU started, by a job. */
async function chosenGpu(call: HostCall, { signal }: Background): Promise<number | undefined> {
  const quiet = { signal, onProgress: undefined, transfer: false };
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

/** Makes a call on tensors, and waits until the GPU of x has computed it. */
export async function computeOnTensor<Result>(
  x: DeviceTensor<Dtype>,
  background: Background,
  call: () => Result,
): Promise<Result> {
  const result = call();
  await onCudaAsync((cuda) => cuda.synchronize(gpuOf(x)));
  return finished(background, x.length, result);
}

/** In milliseconds. A person sees no more steps than that, and a program hardly notices what they take. */
const progressPeriod = 50;

/**
 * A job from its start to its end.
 *
 * @param total - the elements of the call
 * @throws what the job reports, an AbortError, or what onProgress throws; nobody uses the job's arrays then
 */
export async function runJob(
  background: Background,
  total: number,
  begin: (jobs: NativeJobs) => NativeJob,
): Promise<void> {
  throwIfAborted(background);
  const { signal, onProgress } = background;
  const { jobs } = native();
  const { promise, handle } = begin(jobs);
  const stop = (): void => jobs.stop(handle);

  let reported = 0;
  let failure: { error: unknown } | undefined;
  const report = (): void => {
    const done = Math.min(jobs.done(handle), total);
    if (done <= reported || done === total || failure !== undefined) return;
    reported = done;
    try {
      onProgress!(done, total);
    } catch (error) {
      failure = { error };
      stop();
    }
  };
  const timer = onProgress && setInterval(report, progressPeriod);
  const forget = signal && whenAborted(signal, stop);
  try {
    const isDone = await promise;
    if (failure !== undefined) throw failure.error;
    if (!isDone) throw aborted(signal?.reason);
  } finally {
    clearInterval(timer);
    forget?.();
  }
}

/** The calls that a signal was given to and that have not ended, and the signal's one listener. */
const listening = new WeakMap<
  AbortSignal,
  { readonly calls: Set<() => void>; readonly listener: () => void }
>();

/**
 * Calls `stop` when the signal is aborted, until the function that this returns is called. A signal has one listener for
 * all calls: Node.js warns of a leak where there are more than ten.
 */
export function whenAborted(signal: AbortSignal, stop: () => void): () => void {
  const { calls, listener } = listening.get(signal) ?? listen(signal);
  calls.add(stop);
  return () => {
    calls.delete(stop);
    if (calls.size > 0) return;
    listening.delete(signal);
    signal.removeEventListener('abort', listener);
  };
}

function listen(signal: AbortSignal): { calls: Set<() => void>; listener: () => void } {
  const calls = new Set<() => void>();
  const listener = (): void => {
    for (const stop of calls) stop();
  };
  signal.addEventListener('abort', listener);
  const entry = { calls, listener };
  listening.set(signal, entry);
  return entry;
}

/** As runJob, for a job of a GPU: what CUDA reports is a CudaError. */
export async function runCudaJob(
  background: Background,
  total: number,
  begin: (jobs: NativeJobs) => NativeJob,
): Promise<void> {
  await onCudaAsync(() => runJob(background, total, begin));
}

/** The last report of a call, with its result. */
export function finished<Result>({ onProgress }: Background, total: number, result: Result): Result {
  onProgress?.(total, total);
  return result;
}
