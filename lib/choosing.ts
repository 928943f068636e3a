// What 'auto' chooses for a call on arrays of the host: auto.ts estimates, with the costs that were given or measured.
// A GPU that has failed is not chosen again.
import {
  assumedCosts,
  choose,
  leastElementsForGpu,
  type AutoCosts,
  type Choice,
  type Operation,
  type Work,
} from './auto.ts';
import { native, type FloatArray } from './binding.ts';
import { CudaError, invalidType, outOfRange } from './errors.ts';
import { gpus, lookedForGpus, onCuda, warn } from './gpus.ts';
import { checkNames, namesOf } from './options.ts';
import { isPinned } from './pinned.ts';

/** A call on arrays of the host. */
export interface HostCall {
  readonly operation: Operation;
  readonly rows: number;
  readonly k: number;
  readonly contiguous: boolean;
  readonly threads: number;
  readonly x: FloatArray;
  /** What is written: of two results, that of x's type. */
  readonly result: FloatArray;
  /** Whether copies of these arrays are used, in ordinary memory. */
  readonly areCopies?: boolean;
}

const costNames = namesOf(...Object.keys(assumedCosts));

let givenCosts: Partial<AutoCosts> = {};

/** What a GPU that 'auto' chose reported. */
let failure: CudaError | undefined;

/**
 * Sets the costs by which 'auto' estimates the time of a call on a GPU, in place of those that are measured when a GPU
 * is first used. They hold for the thread that calls this.
 *
 * @param costs - bytes a second and seconds; those left out are measured again, and all of them without an argument
 * @throws TypeError `ERR_INVALID_ARG_TYPE` and RangeError `ERR_OUT_OF_RANGE` for anything but positive numbers, TypeError
 *   `ERR_UNKNOWN_OPTION` for other names
 *
 * @example
 * ```ts
 * import { setAutoCosts, softmax } from 'softmax-native';
 *
 * // A bus of 55 GB/s each way (PCIe 5.0 x16), and memory that one thread copies with 12 GB/s.
 * setAutoCosts({ upload: 55e9, download: 55e9, staging: 12e9, launch: 8e-6 });
 * softmax(Float32Array.of(0, 0));
 * // => Float32Array(2) [0.5, 0.5]
 *
 * setAutoCosts();
 * ```
 */
export function setAutoCosts(costs: Partial<AutoCosts> = {}): void {
  if (typeof costs !== 'object' || costs === null || Array.isArray(costs))
    throw invalidType('an object', 'costs', costs);
  checkNames(costs, costNames, 'a cost');
  const read: Record<string, number> = {};
  for (const name of costNames.all as (keyof AutoCosts)[]) {
    const value: unknown = costs[name];
    if (value === undefined) continue;
    if (typeof value !== 'number') throw invalidType('a number', `costs.${name}`, value);
    if (!(value > 0 && value < Infinity)) throw outOfRange('a positive number', `costs.${name}`, value);
    read[name] = value;
  }
  givenCosts = read;
}

/**
 * The GPU for a call by 'auto', undefined for the CPU. Looking for GPUs loads the driver, and measuring costs makes a
 * context, so each is done only where the call would be worth it.
 */
export function chooseGpu(call: HostCall): number | undefined {
  try {
    if (!mightUseGpu(call)) return undefined;
    const [gpu] = gpus().usable;
    if (gpu === undefined) return undefined;
    if (!isStarted(gpu)) onCuda((cuda) => cuda.start(gpu));
    return choose(workOf(call), costsOf(gpu), true).device === 'cuda' ? gpu : undefined;
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
    giveUp(error);
    return undefined;
  }
}

/**
 * Whether 'auto' would take a GPU, as far as is known without looking for GPUs or starting one.
 *
 * @param mayMeasure - whether the costs of a GPU that is started may be asked for, which measures them the first time
 */
export function mightUseGpu(call: HostCall, mayMeasure = (_gpu: number): boolean => true): boolean {
  const known = lookedForGpus();
  if (failure !== undefined || known?.usable.length === 0) return false;
  const [first] = known?.usable ?? [];
  const costs = first !== undefined && mayMeasure(first) ? costsOf(first) : costsOf(undefined);
  return choose(workOf(call), costs, isStarted(first)).device === 'cuda';
}

/** After a failure 'auto' leaves the GPU alone: what failed once would cost its time at every call. */
export function giveUp(error: CudaError): void {
  failure = error;
  if (native().cuda.takeWarning()) warn(`'auto' computes on the CPU from now on: ${error.message}`);
}

function isStarted(gpu: number | undefined): boolean {
  return gpu !== undefined && native().cuda.isStarted(gpu);
}

function costsOf(gpu: number | undefined): AutoCosts {
  const base = gpu !== undefined && isStarted(gpu) ? onCuda((cuda) => cuda.costs(gpu)) : assumedCosts;
  return { ...base, ...givenCosts };
}

function workOf(call: HostCall): Work {
  const { operation, rows, k, contiguous, threads, x, result, areCopies } = call;
  return {
    operation,
    rows,
    k,
    contiguous,
    elementBytes: x.BYTES_PER_ELEMENT as 4 | 8,
    threads,
    isa: isa(),
    pinnedInput: areCopies !== true && isPinned(x),
    pinnedOutput: areCopies !== true && isPinned(result),
  };
}

let usedIsa: string | undefined;

function isa(): string {
  usedIsa ??= native().cpuInfo().isa;
  return usedIsa;
}

/** What 'auto' knows and would do. */
export interface AutoInfo {
  /** Whether the GPU's context exists. Making it takes about 0.3 s, which 'auto' counts until then. */
  started: boolean;
  /** Where the costs come from: those of setAutoCosts, measured on this GPU, or assumed until it is started. */
  source: 'given' | 'measured' | 'assumed';
  /** The costs that it counts with. */
  costs: AutoCosts;
  /** What it would choose now for some float32 arrays of the host, on as many threads as by default. */
  choices: AutoChoice[];
  /** What a GPU that it had chosen reported, and it chooses the CPU ever since; or why the costs could not be measured. */
  failure?: string;
}

/** What 'auto' would choose for a call on float32 arrays, with the estimates. */
export interface AutoChoice extends Choice {
  /** The function that is called. */
  operation: Operation;
  /** The shape of x, whose last axis is that of the rows. */
  shape: [rows: number, k: number];
  /** Whether x and the result are page-locked, see allocPinned. */
  pinned: boolean;
}

const typical: [Operation, number, number][] = [
  ['softmax', 1, 1000],
  ['softmax', 64, 1000],
  ['softmax', 8192, 1000],
  ['softmax', 128, 131_072],
  ['softmax', 1, 2 ** 24],
  ['rowMax', 8192, 1000],
  ['softmaxJacobian', 1000, 100],
  ['softmaxJacobian', 64, 1000],
];

export function autoInfo(gpu: number, threads: number): AutoInfo {
  const started = isStarted(gpu);
  const [costs, unmeasured] = costsForInfo(gpu);
  const given = Object.keys(givenCosts).length > 0;
  const choices = typical.flatMap(([operation, rows, k]) =>
    [false, true].map((pinned): AutoChoice => {
      const work: Work = {
        operation,
        rows,
        k,
        contiguous: true,
        elementBytes: 4,
        threads,
        isa: isa(),
        pinnedInput: pinned,
        pinnedOutput: pinned,
      };
      const elements = rows * k * (operation === 'softmaxJacobian' ? k : 1);
      const choice = choose(work, costs, started);
      const device = failure !== undefined || elements < leastElementsForGpu ? 'cpu' : choice.device;
      return { operation, shape: [rows, k], pinned, ...choice, device };
    }),
  );
  const source = given ? 'given' : started && unmeasured === undefined ? 'measured' : 'assumed';
  const reported = failure ?? unmeasured;
  return { started, source, costs, choices, ...(reported && { failure: reported.message }) };
}

/** The costs, or those assumed with what kept them from being measured, as full memory: nobody has asked for a call. */
function costsForInfo(gpu: number): [AutoCosts, CudaError?] {
  try {
    return [costsOf(gpu)];
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
    return [{ ...assumedCosts, ...givenCosts }, error];
  }
}
