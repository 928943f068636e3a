// Arbitrary and hostile input for every public function. No call may crash, write outside its results, read anything of
// the caller's twice, or throw anything but what is documented or what the caller's own getter threw; what a call accepts
// it must compute right, from what the logits were when it read them.
//
// Without settings it makes the same calls each time. SOFTMAX_FUZZ_SECONDS makes others for so long, from a seed that is
// printed, or from SOFTMAX_FUZZ_SEED.
import * as fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { native } from '../../lib/binding.ts';
import {
  allocPinned,
  cudaDevice,
  CudaError,
  deviceInfo,
  DeviceTensor,
  isPinned,
  rowMax,
  setAutoCosts,
  setDefaultDevice,
  softmax,
  softmaxJacobian,
  type ErrorCode,
} from '../../lib/index.ts';
import { setQuickBytes } from '../../lib/background.ts';
import * as promises from '../../lib/promises.ts';
import { byName } from '../support/by-name.ts';
import {
  anything,
  planted,
  prepare,
  scenarios,
  valueOf,
  type AnyArray,
  type Argument,
  type Scenario,
} from '../support/hostile.ts';
import { checkJacobian, checkRowMax, checkSoftmax } from '../support/reference-results.ts';
import type { FloatArray } from '../support/ulp.ts';

const seconds = Number(process.env['SOFTMAX_FUZZ_SECONDS'] ?? 0);
const random = Math.floor(Math.random() * 2 ** 31);
const seed = Number(process.env['SOFTMAX_FUZZ_SEED'] ?? (seconds > 0 ? random : 20_261_126));

type Function = (...args: never[]) => unknown;

/** A function that computes. It may give a promise. */
interface Operation {
  readonly name: string;
  readonly options: readonly string[];
  readonly call: (x: never, options: never) => unknown;
  /** What it computes. */
  readonly kind: 'softmax' | 'rowMax' | 'softmaxJacobian';
}

const shared = ['shape', 'axis', 'out', 'threads', 'device'];
const inBackground = ['signal', 'onProgress', 'transfer'];

const operations: readonly Operation[] = [
  { name: 'softmax', call: softmax, kind: 'softmax', options: shared },
  { name: 'rowMax', call: rowMax, kind: 'rowMax', options: [...shared, 'keepdims'] },
  { name: 'softmaxJacobian', call: softmaxJacobian, kind: 'softmaxJacobian', options: shared },
  {
    name: 'promises.softmax',
    call: promises.softmax,
    kind: 'softmax',
    options: [...shared, ...inBackground],
  },
  {
    name: 'promises.rowMax',
    call: promises.rowMax,
    kind: 'rowMax',
    options: [...shared, ...inBackground, 'keepdims'],
  },
  {
    name: 'promises.softmaxJacobian',
    call: promises.softmaxJacobian,
    kind: 'softmaxJacobian',
    options: [...shared, ...inBackground],
  },
];

/** Every function of the library, for any arguments; those of the last ones are kept from what would be dangerous. */
const functions: readonly { name: string; call: Function; options?: readonly string[] }[] = [
  ...operations,
  {
    name: 'promises.jacobianRows',
    call: jacobiansOf,
    options: ['shape', 'threads', 'device', ...inBackground, 'rowsPerChunk'],
  },
  { name: 'deviceInfo', call: deviceInfo },
  { name: 'setDefaultDevice', call: setDefaultDevice },
  { name: 'setAutoCosts', call: setAutoCosts, options: ['upload', 'launch'] },
  { name: 'cudaDevice', call: cudaDevice },
  { name: 'isPinned', call: isPinned },
  {
    name: 'allocPinned',
    // No gigabytes.
    call: (type: never, length: number) => allocPinned(type, isHuge(length) ? 1000 : length),
  },
  {
    name: 'DeviceTensor.fromPointer',
    // No address that CUDA might take for its own.
    call: (pointer: bigint, options: never) =>
      DeviceTensor.fromPointer(typeof pointer === 'bigint' ? -1n : pointer, options),
    options: ['shape', 'dtype', 'device'],
  },
];

/** A few chunks, as the first arguments that are accepted may have any number of them. */
async function jacobiansOf(x: never, options: never): Promise<void> {
  let chunks = 0;
  for await (const { data } of promises.jacobianRows(x as Float32Array, options)) {
    expect(data.length).toBeGreaterThanOrEqual(0);
    if (++chunks === 3) break;
  }
}

function isHuge(length: unknown): boolean {
  return typeof length === 'number' && length > 1e6 && length < 2 ** 45;
}

const errorClasses: Record<ErrorCode, ErrorConstructor> = {
  ERR_INVALID_ARG_TYPE: TypeError,
  ERR_UNKNOWN_OPTION: TypeError,
  ERR_OUT_OF_RANGE: RangeError,
  ERR_SHAPE_MISMATCH: RangeError,
  ERR_OVERLAP: RangeError,
  ERR_OUT_OF_MEMORY: RangeError,
  ERR_DETACHED: TypeError,
  ERR_NATIVE_LIBRARY: Error,
  ERR_UNSUPPORTED_ISA: Error,
  ERR_CUDA_UNAVAILABLE: Error,
  ERR_CUDA: CudaError as unknown as ErrorConstructor,
  ERR_DISPOSED: TypeError,
  ABORT_ERR: Error,
};

function expectDocumented(error: unknown): void {
  if (error === planted) return;
  expect(error).toBeInstanceOf(Error);
  const { code, message } = error as Error & { code: ErrorCode };
  // JavaScript's own, of whatever is done with such an argument.
  if (error instanceof TypeError && message.endsWith('on a proxy that has been revoked')) return;
  if (!(code in errorClasses))
    throw new Error(`an error that is not documented: ${message}`, { cause: error });
  expect(error).toBeInstanceOf(errorClasses[code]);
}

/** Calls, and waits for what is a promise. */
async function outcomeOf(call: () => unknown): Promise<{ result: unknown } | { error: unknown }> {
  try {
    return { result: await call() };
  } catch (error) {
    return { error };
  }
}

const properties = functions.length + 2 * operations.length;

async function assert<Ts extends [unknown, ...unknown[]]>(
  property: fc.IAsyncPropertyWithHooks<Ts>,
  numRuns: number,
): Promise<void> {
  const limits =
    seconds > 0
      ? {
          numRuns: 1e9,
          interruptAfterTimeLimit: (seconds * 1000) / properties,
          markInterruptAsFailure: false,
        }
      : { numRuns };
  await fc.assert(property, { seed, ...limits });
}

beforeAll(() => {
  if (seconds > 0) console.log(`SOFTMAX_FUZZ_SEED=${seed}`);
  // So that small arrays are computed on several threads.
  native().setWorkPerThread(0);
  // And by jobs.
  setQuickBytes(0);
  return () => native().setWorkPerThread(35_000);
});

afterEach(() => {
  setDefaultDevice('auto');
  setAutoCosts();
  native().setPastCachesFrom(8 * 2 ** 20);
});

describe.each(byName(functions))('%s', (_name, { call, options = [] }) => {
  it('takes any arguments, or refuses them', { timeout: 600_000 }, async () => {
    const objectWith = (...names: string[]): fc.Arbitrary<Argument> =>
      fc.dictionary(fc.constantFrom(...names), anything, { maxKeys: 3 }).map((given) => ({
        make: () => Object.fromEntries(Object.entries(given).map(([key, value]) => [key, valueOf(value)])),
        [fc.toStringMethod]: () => fc.stringify(given),
      }));
    // An option that no function knows comes now and then.
    const anyOptions = objectWith(...options, ...options, ...options, 'unknown');
    const anyInput = objectWith('data', 'shape', 'dims');
    const good = fc.constantFrom<{ make: () => unknown }>(
      { make: () => Float32Array.of(1, 2, 3, 4) },
      { make: () => [1, 2, 3, 4] },
      { make: () => ({ data: Float64Array.of(1, 2, 3, 4), shape: [2, 2] }) },
    );
    const first = fc.oneof(anything, anyOptions, anyInput, good);
    await assert(
      fc.asyncProperty(first, fc.oneof(anything, anyOptions), fc.nat({ max: 3 }), async (one, two, count) => {
        const args = [one, two, one].slice(0, count).map(valueOf) as never[];
        const outcome = await outcomeOf(() => call(...args));
        if ('error' in outcome) expectDocumented(outcome.error);
      }),
      700,
    );
  });
});

describe.each(byName(operations))('%s', (_name, operation) => {
  it.each([
    ['of arrays in any memory is right, or refused', false, 300],
    ['of arrays that change while it reads its options is right, or refused', true, 600],
  ])('%s', { timeout: 600_000 }, async (_title, hostile, runs) => {
    await assert(
      fc.asyncProperty(scenarios(hostile), fc.boolean(), async (scenario, pastCaches) => {
        native().setPastCachesFrom(pastCaches ? 1 : 2 ** 40);
        await check(operation, scenario);
      }),
      runs,
    );
  });
});

/** Makes one call and checks all that may be said of it. */
async function check({ kind, call }: Operation, given: Scenario): Promise<void> {
  const scenario = kind === 'softmaxJacobian' ? jacobianOf(given) : given;
  const { shape } = scenario;
  // Plain numbers have the shape that is given to them; without a shape of its own x is called with the option.
  const axis = ((scenario.axis ?? -1) + shape.length) % shape.length;
  const elements = shape.reduce((product, size) => product * size, 1);
  const rows = shape.toSpliced(axis, 1).reduce((product, size) => product * size, 1);
  const k = shape[axis]!;
  const length = { softmax: elements, rowMax: rows, softmaxJacobian: elements * k }[kind];
  const results = { length, isPair: kind === 'rowMax', mayBeInPlace: kind === 'softmax' };

  const prepared = prepare(scenario, results, () => softmax(Float32Array.of(1, 2, 3), { shape: [1, 3] }));
  const { x, options, out, targets, watch } = prepared;
  const outcome = await outcomeOf(() => call(x as never, options as never));
  const { readAgain, refusal } = prepared;

  if ('error' in outcome) {
    expectDocumented(outcome.error);
    expect(watch.firstChange([])).toBeUndefined();
    if (scenario.acts.length === 0) expect((outcome.error as { code: unknown }).code).toBe(refusal);
    return;
  }
  if (scenario.acts.length === 0) expect(refusal, 'accepted').toBeUndefined();
  // The text of an error may look again at what was refused.
  expect(readAgain, 'read more than once').toEqual([]);
  const { result } = outcome;
  expect(watch.firstChange(targets.map((target) => [target, length] as const))).toBeUndefined();

  const logits = prepared.logits();
  if (logits === undefined) throw new Error('accepted logits that had lost their memory');
  if (kind === 'rowMax') {
    const pair = result as { max: FloatArray; argmax: Int32Array; shape: number[] };
    if (targets.length > 0)
      expect([pair.max, pair.argmax].every((array, i) => array === targets[i])).toBe(true);
    const reduced = scenario.keepdims === true ? shape.toSpliced(axis, 1, 1) : shape.toSpliced(axis, 1);
    expect(pair.shape).toEqual(reduced);
    expect(checkRowMax(logits, [pair.max, pair.argmax], shape, axis)).toBeUndefined();
    return;
  }
  if (out !== undefined) expect(result === out).toBe(true);
  const values = valuesOf(out === undefined ? result : targets[0]!, length);
  expect(values.BYTES_PER_ELEMENT).toBe(logits.BYTES_PER_ELEMENT);
  const complaint =
    kind === 'softmax' ? checkSoftmax(logits, values, shape, axis) : checkJacobian(logits, values, shape);
  expect(complaint).toBeUndefined();
}

/** Along the last axis, and of rows that are short enough to be compared entry by entry. */
function jacobianOf(scenario: Scenario): Scenario {
  const shape = [...scenario.shape.slice(0, -1), Math.min(scenario.shape.at(-1)!, 40)];
  return { ...scenario, shape, axis: scenario.axis === undefined ? undefined : -1 };
}

/** The elements of a result of any form. */
function valuesOf(result: unknown, length: number): FloatArray {
  if (Array.isArray(result)) return Float64Array.from(result.flat(9) as number[]);
  const array = (ArrayBuffer.isView(result) ? result : (result as { data: AnyArray }).data) as FloatArray;
  return array.subarray(0, length);
}
