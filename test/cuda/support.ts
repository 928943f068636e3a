// What the tests that need a GPU share. They run on an emulated one or on a real one, whichever the native library has;
// without any they are skipped, and say so.
import { afterAll, expect } from 'vitest';
import { native } from '../../lib/binding.ts';
import {
  cudaDevice,
  deviceInfo,
  rowMax,
  softmax,
  softmaxJacobian,
  type CudaDevice,
  type DeviceTensor,
  type Dtype,
} from '../../lib/index.ts';
import { expectSameBits } from '../support/bits.ts';
import { gaussian, SHAPES_OF_ROWS } from '../support/distributions.ts';
import type { Random } from '../support/random.ts';
import type { FloatArray, Format } from '../support/ulp.ts';

/** The emulated machine's controls, as test/emulator exports them to JavaScript. */
export interface Emulator {
  findings(): string[];
  live(): {
    device: { count: number; bytes: number };
    pinned: { count: number; bytes: number };
    streams: number;
    events: number;
  };
  launches(): Record<string, number>;
}

/** Undefined on a real GPU. */
export const emulator: Emulator | undefined = (native() as { emulator?: Emulator }).emulator;

const { cuda } = deviceInfo();
if (!cuda.available) console.warn(`test/cuda: skipped, as there is no GPU. ${cuda.reason}`);

/** Whether to skip what needs a GPU. */
export const noGpu: boolean = !cuda.available;

/** The first GPU; called within tests only. */
export function device(): CudaDevice {
  return cudaDevice();
}

if (emulator !== undefined) {
  afterAll(() => {
    const findings = emulator.findings();
    if (findings.length > 0) throw new Error(`the emulated device found:\n${findings.join('\n')}`);
  });
}

const distributions = [gaussian(3), gaussian(30), gaussian(3, 65_530), gaussian(10, -1e6), ...SHAPES_OF_ROWS];

/** Rows of different distributions, some with elements that are no numbers: neighbours must not notice each other. */
export function mixedRows(rows: number, k: number, random: Random, format: Format): FloatArray {
  const x = format.array(rows * k);
  for (let row = 0; row < rows; row++) {
    const values = distributions[random.below(distributions.length)]!.row(k, random, format);
    x.set(values, row * k);
    const some = row * k + random.below(Math.max(k, 1));
    const special = random.below(12);
    if (k === 0) continue;
    if (special === 0) x[some] = NaN;
    if (special === 1) x[some] = Infinity;
    if (special === 2) x.fill(-Infinity, row * k, (row + 1) * k);
  }
  return x;
}

/** Rows of two distributions only, as making the others takes longer than computing them. */
export function manyRows(rows: number, k: number, random: Random, format: Format): FloatArray {
  const x = format.array(rows * k);
  const cycle = format.array(4099).map(() => 3 * random.gaussian());
  for (let i = 0; i < x.length; i++) x[i] = cycle[i % 4099]! + (i % 31 === 0 ? 1e-3 * (i % 977) : 0);
  for (let row = 0; row < rows; row += 7) x[row * k + random.below(k)] = [70_000, -Infinity, 90][row % 3]!;
  return x;
}

export interface Case {
  shape: readonly number[];
  axis?: number;
}

/** Frees tensors at the end of what is done with them. */
export function using<Result>(tensors: readonly DeviceTensor<Dtype>[], use: () => Result): Result {
  try {
    return use();
  } finally {
    for (const tensor of tensors) tensor.dispose();
  }
}

const withShape = ({ shape, axis = -1 }: Case): { shape: readonly number[]; axis: number } => ({
  shape,
  axis,
});

/** Compares softmax of a tensor, of a host array on the GPU and on the CPU, bit by bit. */
export function expectSameSoftmax(x: FloatArray, at: Case, ways: readonly Way[] = WAYS): void {
  const options = withShape(at);
  const context = `softmax, [${at.shape.join(', ')}], axis ${options.axis}`;
  const expected = softmax(x, { ...options, device: 'cpu' });
  if (ways.includes('host')) {
    expectSameBits(softmax(x, { ...options, device: 'cuda' }), expected, `${context}, host array`);
  }
  if (!ways.includes('tensor')) return;
  const tensor = device().tensor(x, { shape: at.shape });
  const y = softmax(tensor, { axis: options.axis });
  using([tensor, y], () => {
    expect(y.shape).toEqual(at.shape);
    expectSameBits(y.dataSync(), expected, `${context}, tensor`);
    expect(softmax(tensor, { axis: options.axis, out: tensor })).toBe(tensor);
    expectSameBits(tensor.dataSync(), expected, `${context}, tensor in place`);
  });
}

/** The same of rowMax, maxima and indices. */
export function expectSameRowMax(x: FloatArray, at: Case, ways: readonly Way[] = WAYS): void {
  const options = withShape(at);
  const context = `rowMax, [${at.shape.join(', ')}], axis ${options.axis}`;
  const expected = rowMax(x, { ...options, device: 'cpu' });
  const expectSame = (max: FloatArray, argmax: Int32Array, way: string): void => {
    expectSameBits(max, expected.max, `${context}, ${way}`);
    expectSameIndices(argmax, expected.argmax, `${context}, ${way}`);
  };
  if (ways.includes('host')) {
    const actual = rowMax(x, { ...options, device: 'cuda' });
    expect(actual.shape).toEqual(expected.shape);
    expectSame(actual.max, actual.argmax, 'host array');
  }
  if (!ways.includes('tensor')) return;
  const tensor = device().tensor(x, { shape: at.shape });
  const { max, argmax, shape } = rowMax(tensor, { axis: options.axis });
  using([tensor, max, argmax], () => {
    expect([shape, max.shape, argmax.shape]).toEqual([expected.shape, expected.shape, expected.shape]);
    expectSame(max.dataSync(), argmax.dataSync(), 'tensor');
  });
}

/** The same of softmaxJacobian. */
export function expectSameJacobian(
  x: FloatArray,
  shape: readonly number[],
  ways: readonly Way[] = WAYS,
): void {
  const context = `softmaxJacobian, [${shape.join(', ')}]`;
  const expected = softmaxJacobian(x, { shape, device: 'cpu' });
  if (ways.includes('host')) {
    expectSameBits(softmaxJacobian(x, { shape, device: 'cuda' }), expected, `${context}, host array`);
  }
  if (!ways.includes('tensor')) return;
  const tensor = device().tensor(x, { shape });
  const jacobian = softmaxJacobian(tensor);
  using([tensor, jacobian], () => {
    expect(jacobian.shape).toEqual([...shape, shape.at(-1)]);
    expectSameBits(jacobian.dataSync(), expected, `${context}, tensor`);
  });
}

/** How an operation is called: on a host array, or on a tensor. */
export type Way = 'host' | 'tensor';
const WAYS: readonly Way[] = ['host', 'tensor'];

export function expectSameIndices(actual: Int32Array, expected: Int32Array, context: string): void {
  expect(actual.length, context).toBe(expected.length);
  const at = actual.findIndex((index, row) => index !== expected[row]);
  if (at >= 0) throw new Error(`${context}: row ${at} has index ${actual[at]}, not ${expected[at]}`);
}
