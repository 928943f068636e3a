// What `device: 'auto'` chooses for arrays in the memory of the host: the CPU or a GPU, whichever is estimated to be
// faster. Both give the same bits, so that a wrong estimate costs time only.
//
// Softmax moves 8 bytes for every float32 element and computes little, and data in the host's memory has to cross the
// bus to a GPU and back. So the CPU is chosen nearly always; a GPU is worth its bus where few threads, a slow
// instruction set or a costly layout meet large, preferably page-locked, arrays. (Tensors on a GPU stay there, and need
// no choice.)
//
//   CPU   work / (threads that are woken), but no less than traffic / memoryBandwidth
//   GPU   start-up if not started + launches + the longest of staging, upload and download + what one piece of the data
//         takes in the other two, as only pieces overlap
//
// Kernels are left out of the GPU's side: its memory moves data some 50 times as fast as the bus, at the same time.
/** A function, as its cost is known by its name. */
export type Operation = 'softmax' | 'rowMax' | 'softmaxJacobian';

/** A call, as far as its cost depends on it. */
export interface Work {
  readonly operation: Operation;
  readonly rows: number;
  /** Elements in a row. */
  readonly k: number;
  /** Whether the elements of a row lie side by side: the axis is the last one. */
  readonly contiguous: boolean;
  readonly elementBytes: 4 | 8;
  /** The most threads that the call may use. */
  readonly threads: number;
  /** The instruction set in use, as deviceInfo() names it. */
  readonly isa: string;
  /** Whether x and the result are page-locked memory (allocPinned), which needs no staging. */
  readonly pinnedInput: boolean;
  readonly pinnedOutput: boolean;
}

/** What moving data to a GPU and back costs, in bytes a second and seconds. */
export interface AutoCosts {
  /** Bytes a second from page-locked memory of the host to the GPU. */
  readonly upload: number;
  /** Bytes a second from the GPU to page-locked memory of the host. */
  readonly download: number;
  /** Bytes a second that one thread copies between an array, larger than the processor's caches, and page-locked memory. */
  readonly staging: number;
  /** Seconds to launch a kernel and wait for its end. */
  readonly launch: number;
}

export interface Choice {
  /** Where the call is computed. */
  readonly device: 'cpu' | 'cuda';
  /** What it is estimated to take on the CPU, in seconds. */
  readonly cpuSeconds: number;
  /** What it is estimated to take on the GPU, in seconds, the way there and back counted. */
  readonly cudaSeconds: number;
}

/**
 * Below this number of elements, of x or of the Jacobian, the CPU is chosen without an estimate. 65,536 float32
 * elements take some 50 microseconds on one thread with AVX-512: less than the launches,
 * copies and waits of one call on a GPU. Portable code would take 2 ms, and a GPU win; who runs that has asked for it.
 */
export const leastElementsForGpu = 65_536;

/** Seconds to load the driver, make a GPU's context and load the kernels: the first call on a GPU waits for them. */
export const startSeconds = 0.3;

/**
 * Assumed until costs are measured, as measuring starts a GPU. PCIe 4.0 x16 carries 31.5 GB/s, of which copies of
 * page-locked memory reach some 80 %; one thread copies 10 GB/s and more (bench/results/batch.json, memory); a launch
 * and the wait for its end take of the order of 10 microseconds.
 */
export const assumedCosts: AutoCosts = { upload: 25e9, download: 25e9, staging: 10e9, launch: 10e-6 };

/** What an operation takes on one thread with AVX-512, in picoseconds for each row and for each byte. */
export interface CpuCost {
  readonly row: number;
  readonly byte: number;
}

/** The costs by which native/cpu/schedule.cpp wakes threads; test/unit/auto.test.ts compares them. */
export const cpuCosts: Readonly<
  Record<'softmaxOfRows' | 'softmaxOfColumns' | 'maxOfRows' | 'maxOfColumns' | 'jacobian', CpuCost>
> = {
  softmaxOfRows: { row: 70_000, byte: 150 },
  softmaxOfColumns: { row: 3000, byte: 280 }, // and of short rows, which are turned into columns
  maxOfRows: { row: 8000, byte: 30 },
  maxOfColumns: { row: 1000, byte: 80 }, // and of short rows
  jacobian: { row: 30_000, byte: 60 }, // bytes of the result
};

/** How many times as long the others take; from the kernel tables in native/cpu, compared by the same test. */
export const slowerThanAvx512: Readonly<Record<string, number>> = {
  avx512: 1,
  avx2: 1.4,
  neon: 3,
  scalar: 50,
};

/** Rows up to this many bytes are worked on side by side (kShortRow in native/cpu/kernels.h). */
export const shortRowBytes = 512;

/** Seconds of work that are worth one more thread (work_per_thread in native/cpu/schedule.cpp). */
export const workPerThread = 35e-6;

/** Bytes a second that all threads together read and write: two channels of DDR5-5600, 89.6 GB/s, less what is lost. */
const memoryBandwidth = 80e9;

/** A call's data goes in eight pieces of whole rows, or in pieces of these sizes (native/cuda/batches.h), */
const pieces = 8;
const smallestPiece = 2 ** 20;
const largestPiece = 8 * 2 ** 20;

/** with an upload, a kernel and a download to start for each. */
const startsOfPiece = 3;

/**
 * The faster device for a call. Without costs, those assumed are taken.
 *
 * @param started - whether the GPU's context exists
 */
export function choose(work: Work, costs: AutoCosts | undefined, started: boolean): Choice {
  const cpuSeconds = secondsOnCpu(work);
  const cudaSeconds = secondsOnGpu(work, costs ?? assumedCosts) + (started ? 0 : startSeconds);
  return { device: cudaSeconds < cpuSeconds ? 'cuda' : 'cpu', cpuSeconds, cudaSeconds };
}

function secondsOnCpu(work: Work): number {
  const { operation, rows, threads, isa } = work;
  const [input, output] = bytesOf(work);
  const { row, byte } = cpuCostOf(work);
  const bytes = operation === 'softmaxJacobian' ? output : input;
  const seconds = (row * rows + byte * bytes) * 1e-12 * (slowerThanAvx512[isa] ?? 1);
  const woken = Math.min(threads, Math.max(1, Math.floor(seconds / workPerThread)));
  return Math.max(seconds / woken, (input + output) / memoryBandwidth);
}

function cpuCostOf({ operation, k, contiguous, elementBytes }: Work): CpuCost {
  if (operation === 'softmaxJacobian') return cpuCosts.jacobian;
  const asRows = contiguous && k * elementBytes > shortRowBytes;
  if (operation === 'rowMax') return asRows ? cpuCosts.maxOfRows : cpuCosts.maxOfColumns;
  return asRows ? cpuCosts.softmaxOfRows : cpuCosts.softmaxOfColumns;
}

function secondsOnGpu(work: Work, { upload, download, staging, launch }: AutoCosts): number {
  const [input, output] = bytesOf(work);
  const copied = (work.pinnedInput ? 0 : input) + (work.pinnedOutput ? 0 : output);
  const stages = [copied / staging, input / upload, output / download];
  const serial = stages.reduce((sum, seconds) => sum + seconds);
  const bytes = Math.max(input, output);
  const piece = Math.min(Math.max(bytes / pieces, smallestPiece), largestPiece);
  const most = work.operation === 'softmaxJacobian' ? Infinity : work.rows;
  const count = Math.min(Math.max(1, bytes / piece), most);
  // Of all pieces but one, what is not the longest stage is hidden behind it.
  return launch * startsOfPiece * count + serial / count + Math.max(...stages) * (1 - 1 / count);
}

/** The bytes that a call reads and those that it writes. */
function bytesOf({ operation, rows, k, elementBytes }: Work): [input: number, output: number] {
  const input = rows * k * elementBytes;
  if (operation === 'softmax') return [input, input];
  if (operation === 'rowMax') return [input, rows * (elementBytes + Int32Array.BYTES_PER_ELEMENT)];
  return [input, input * k];
}
