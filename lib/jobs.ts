// A job from its start to its end: its stop by a signal, and its progress.
import { native, type NativeJob, type NativeJobs } from './binding.ts';
import { aborted } from './errors.ts';
import { onCudaAsync } from './gpus.ts';
import { defaultThreads } from './threads.ts';

/** What is told how far a call is. */
export interface Reporter {
  /** Some of its elements are done. */
  report(done: number, total: number): void;
}

/** In milliseconds. A person sees no more steps than that, and a program hardly notices what they take. */
const period = 50;

/** Tells the caller of a call: at most every `period`, never less than before, and all of it once, at the end. */
export class Progress implements Reporter {
  readonly #onProgress: (done: number, total: number) => void;
  #reported = 0;
  #last = -Infinity;

  constructor(onProgress: (done: number, total: number) => void) {
    this.#onProgress = onProgress;
  }

  report(done: number, total: number): void {
    const now = performance.now();
    if (done <= this.#reported || done >= total || now - this.#last < period) return;
    this.#reported = done;
    this.#last = now;
    this.#onProgress(done, total);
  }

  finish(total: number): void {
    this.#onProgress(total, total);
  }
}

/**
 * What is needed of an AbortSignal, which is one. (Programs that are compiled without the types of Node.js or of browsers
 * know none.)
 */
export interface Signal {
  /** Whether it was aborted. */
  readonly aborted: boolean;
  /** Why. */
  readonly reason?: unknown;
  /** Has a function called when it is aborted. */
  addEventListener(type: 'abort', listener: () => void): void;
  /** Takes that back. */
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** What a job is watched by. */
export interface Watch {
  readonly signal: Signal | undefined;
  readonly progress: Reporter | undefined;
}

/** How a job ended: with its result, or with what the caller's onProgress threw. */
export interface Ended {
  readonly thrown?: { readonly error: unknown };
}

/**
 * Runs a job. Nobody uses its arrays when this has ended.
 *
 * @param total - the elements of the call
 * @throws what the job reports, or an AbortError
 */
export async function runJob(
  { signal, progress }: Watch,
  total: number,
  begin: (jobs: NativeJobs) => NativeJob,
): Promise<Ended> {
  if (signal?.aborted === true) throw aborted(signal.reason);
  const jobs = preparedJobs();
  const { promise, handle } = begin(jobs);
  const stop = (): void => jobs.stop(handle);

  let thrown: { error: unknown } | undefined;
  const report = (): void => {
    if (thrown !== undefined) return;
    try {
      progress!.report(jobs.done(handle), total);
    } catch (error) {
      thrown = { error };
      stop();
    }
  };
  // A little longer, so that none comes too early to be told.
  const timer = progress && setInterval(report, period + 5);
  const forget = signal && whenAborted(signal, stop);
  try {
    const isDone = await promise;
    if (!isDone && thrown === undefined) throw aborted(signal?.reason);
    return thrown === undefined ? {} : { thrown };
  } catch (error) {
    // One that native code made has no stack.
    if (error instanceof RangeError) Error.captureStackTrace(error);
    throw error;
  } finally {
    clearInterval(timer);
    forget?.();
  }
}

let prepared: NativeJobs | undefined;

/** The jobs, of which as many that use one thread may run at once as a call uses threads by default. */
function preparedJobs(): NativeJobs {
  if (prepared === undefined) {
    prepared = native().jobs;
    prepared.setThreads(defaultThreads());
  }
  return prepared;
}

/** As runJob, for a job of a GPU: what CUDA reports is a CudaError. */
export async function runCudaJob(
  watch: Watch,
  total: number,
  begin: (jobs: NativeJobs) => NativeJob,
): Promise<Ended> {
  return await onCudaAsync(() => runJob(watch, total, begin));
}

/** The calls that a signal was given to and that have not ended, and the signal's one listener. */
interface Listening {
  readonly calls: Set<() => void>;
  readonly listener: () => void;
}
const listening = new WeakMap<Signal, Listening>();

/**
 * Calls `stop` when the signal is aborted, until the function that this returns is called. A signal has one listener for
 * all calls: Node.js warns of a leak where there are more than ten.
 */
export function whenAborted(signal: Signal, stop: () => void): () => void {
  const { calls, listener } = listening.get(signal) ?? listen(signal);
  calls.add(stop);
  return () => {
    calls.delete(stop);
    if (calls.size > 0) return;
    listening.delete(signal);
    signal.removeEventListener('abort', listener);
  };
}

function listen(signal: Signal): Listening {
  const calls = new Set<() => void>();
  const listener = (): void => {
    for (const stop of calls) stop();
  };
  signal.addEventListener('abort', listener);
  const entry = { calls, listener };
  listening.set(signal, entry);
  return entry;
}
