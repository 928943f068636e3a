// jacobianRows: the Jacobians of many rows, some rows at a time, for those that do not fit in memory together.
import { floatTypeOf, allocate } from './arrays.ts';
import {
  backgroundOptions,
  compute,
  finished,
  isForGpu,
  readBackground,
  throwIfAborted,
  type Background,
  type BackgroundOptions,
} from './background.ts';
import type { FloatArray } from './binding.ts';
import { invalidType, outOfRange } from './errors.ts';
import type { ElementArray, HostLogits } from './input.ts';
import { allocateJacobians, jacobianHostCall, readJacobian, type JacobianCall } from './jacobian.ts';
import { copyInput, partOf, stableInput } from './jobMemory.ts';
import { whenAborted, type Watch } from './jobs.ts';
import { callOptions, namesOf, readOptions, type CallOptions } from './options.ts';
import { isDeviceTensor } from './tensor.ts';

/** What {@link jacobianRows} takes: no `out`, as each chunk is a new array. */
export interface JacobianRowsOptions extends CallOptions, BackgroundOptions {
  /** How many rows' Jacobians come together, but for the last ones. By default as many as make 8 MB, at least one. */
  rowsPerChunk?: number | undefined;
}

/** The Jacobians of some adjacent rows. It is a tensor as the functions of this package take them. */
export interface JacobianChunk<Data = FloatArray> {
  /** The first of these rows, counted over all dimensions of x but the last. */
  row: number;
  /** [rows, k, k] */
  shape: [rows: number, k: number, k: number];
  /** The entries, row-major, in an array of their own. */
  data: Data;
}

/**
 * In bytes. 4 to 16 MB took 0.4 of the time of 32 MB (k = 1000): the C library uses freed memory again up to that size, and
 * the collector frees arrays by tens of megabytes.
 */
const chunkBytes = 2 ** 23;

/**
 * The Jacobians of softmax for the rows of x along the last axis, some rows at a time and in their order: what
 * softmaxJacobian gives, the same bits. One chunk is computed in the background while the program works on another;
 * those that it has done with lie in memory until the garbage collector comes.
 *
 * x is read when this is called, under the memory rules of `softmax` of `softmax-native/promises`. `onProgress` counts the
 * entries of all chunks that are computed. Whoever leaves the loop early stops the work.
 *
 * @param x - logits in the memory of the host, of shape (..., k)
 * @returns an iterator, for one loop
 * @throws for its arguments at once, as softmaxJacobian does; RangeError `ERR_OUT_OF_RANGE` for a `rowsPerChunk` below 1;
 *   where chunks are awaited RangeError `ERR_OUT_OF_MEMORY` and AbortError `ABORT_ERR`
 *
 * @example
 * ```ts
 * import { jacobianRows } from 'softmax-native/promises';
 *
 * const logits = Float32Array.of(0, 0, 1, 1, 2, -Infinity);
 * const diagonals = [];
 * for await (const { row, shape, data } of jacobianRows(logits, { shape: [3, 2], rowsPerChunk: 2 })) {
 *   const [rows, k] = shape;
 *   for (let i = 0; i < rows; i++) diagonals[row + i] = data[i * k * k];
 * }
 * diagonals;
 * // => [0.25, 0.25, 0]
 * ```
 */
export function jacobianRows<X extends HostLogits>(
  x: X,
  options?: JacobianRowsOptions,
): AsyncGenerator<JacobianChunk<ElementArray<X>>, void, void> {
  const given = readOptions(options, jacobianRowsOptions);
  const { rowsPerChunk } = given;
  const background = readBackground(given);
  if (rowsPerChunk !== undefined && typeof rowsPerChunk !== 'number') {
    throw invalidType('an integer', 'rowsPerChunk', rowsPerChunk);
  }
  if (rowsPerChunk !== undefined && !(Number.isSafeInteger(rowsPerChunk) && rowsPerChunk >= 1)) {
    throw outOfRange('an integer of at least 1', 'rowsPerChunk', rowsPerChunk);
  }
  if (isDeviceTensor(x)) throw invalidType('logits in the memory of the host', 'x', x);
  const call = readJacobian(x, floatTypeOf(x), given);
  const { input, layout } = call;
  const bytes = layout.k ** 2 * (input.type === 'Float32Array' ? 4 : 8);
  const rows = rowsPerChunk ?? Math.max(1, Math.floor(chunkBytes / bytes));
  const chunks = chunksOf(call, inputOf(call, background), rows, background);
  return chunks as AsyncGenerator<JacobianChunk<ElementArray<X>>, void, void>;
}

const jacobianRowsOptions = namesOf(...callOptions, ...backgroundOptions, 'axis', 'rowsPerChunk');

/** The logits, in memory that stays as it is; of a call that was aborted before it began, none. */
function inputOf({ input, layout }: JacobianCall, { signal, transfer }: Background): FloatArray {
  if (signal?.aborted === true) return new Float32Array(0);
  return (
    stableInput(input, transfer, []) ?? copyInput(input.data, allocate(input.type, layout.elements, 'x'))
  );
}

async function* chunksOf(
  call: JacobianCall,
  x: FloatArray,
  rowsPerChunk: number,
  background: Background,
): AsyncGenerator<JacobianChunk, void, void> {
  throwIfAborted(background);
  const { signal } = background;
  const { k, rows } = call.layout;
  // Stops the chunk that is computed ahead, when the loop is left.
  const left = new AbortController();
  const begin = (row: number): Promise<JacobianChunk> | undefined => {
    if (row >= rows) return undefined;
    const forget = signal && whenAborted(signal, () => left.abort(signal.reason));
    const watch = { signal: left.signal, progress: background.progress };
    const chunk = jacobiansOf(call, x, row, Math.min(rowsPerChunk, rows - row), watch);
    chunk.catch(() => {}).finally(() => forget?.()); // whoever awaits it is told of an error
    return chunk;
  };
  let next = begin(0);
  try {
    for (let row = 0; next !== undefined; row += rowsPerChunk) {
      const chunk: JacobianChunk = await next;
      throwIfAborted(background);
      background.progress?.report((row + chunk.shape[0]) * k * k, call.entries);
      next = begin(row + rowsPerChunk);
      yield chunk;
    }
    throwIfAborted(background);
    finished(background, call.entries, undefined);
  } finally {
    left.abort();
    await next?.catch(() => {}); // nothing uses x any more
  }
}

async function jacobiansOf(
  call: JacobianCall,
  x: FloatArray,
  row: number,
  rows: number,
  { signal, progress }: Watch,
): Promise<JacobianChunk> {
  const { input, place, threads, entries } = call;
  const { k } = call.layout;
  const layout = { ...call.layout, outer: rows, rows, elements: rows * k };
  const data = allocateJacobians(input.type, layout);
  const from = partOf(x, row * k, rows * k);
  const host = jacobianHostCall(from, data, layout, threads);
  const before = row * k * k;
  const watch = {
    signal,
    progress: progress && { report: (done: number): void => progress.report(before + done, entries) },
  };
  await compute(place, isForGpu(place, data.length, host), host, watch, data.length, {
    cuda: (jobs, gpu) => jobs.cudaSoftmaxJacobian(gpu, from, data, rows, k),
    cpu: (jobs) => jobs.softmaxJacobian(from, data, rows, k, threads, true),
  });
  return { row, shape: [rows, k, k], data };
}
