// Other projects' own vectors for every operation this package has: softmax along an axis; hardmax, which is
// rowMax's argmax as a one-hot row; and the vector-Jacobian product, which is softmaxJacobian times a vector. Each
// case is compared within its own tolerance, and softmax also within 1 ulp of our references.
//
// The vectors are kept beside the project, not in it: without them every test here shows as skipped.
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { rowMax, softmax, softmaxJacobian } from '../../lib/index.ts';
import { softmaxReference } from '../support/reference.ts';
import type { FloatArray } from '../support/ulp.ts';
import { FLOAT32, FLOAT64, ulpError } from '../support/ulp.ts';

const folder = new URL('../../../shared/conformance/', import.meta.url);
const present = existsSync(new URL('load.mjs', folder));
const missing = `the conformance vectors are not at ${fileURLToPath(folder)}`;
if (!present) console.warn(`skipped: ${missing}`);

interface Tensor {
  dtype: string;
  shape: number[];
  data: ArrayLike<number>;
}

interface Case {
  id: string;
  op: string;
  params: {
    axis?: number | number[] | null;
    flattenTo2D?: boolean;
    temperature?: number;
    scale?: number;
    maxBias?: number;
  };
  inputs: Record<string, unknown>;
  expected: Record<string, unknown>;
  tolerance: { rtol?: number; atol?: number };
}

interface Loader {
  load(file: string): { cases?: Case[] };
  tensor(json: unknown): Tensor;
  compare(
    actual: ArrayLike<number>,
    expected: ArrayLike<number>,
    tolerance: Case['tolerance'],
  ): string | null;
}

const loader = present ? ((await import(new URL('load.mjs', folder).href)) as Loader) : undefined;

/** Whether the vectors' ops are ours: the same function, or another's with the parameters that make it ours. */
function isOurs({ op, params, inputs }: Case): boolean {
  const names = Object.keys(inputs);
  if (op === 'softmax') return names.join() === 'x' && (params.temperature ?? 1) === 1;
  // ggml's soft_max_ext: x * scale + slope * mask, with sinks; only x and a scale of 1 leave softmax.
  if (op === 'softmaxExt') return names.join() === 'x' && params.scale === 1;
  if (op === 'softmaxVjp') return params.axis === -1 && (params.scale ?? 1) === 1;
  return op === 'hardmax';
}

interface View {
  shape: number[];
  axis: number;
}

/**
 * The shape under which softmax along one axis is the case's: the flattening of ONNX before opset 13, all axes for
 * null, neighbouring axes as their product. Undefined where no reshaping does it.
 */
function viewOf({ params }: Case, shape: number[]): View | undefined {
  const product = (sizes: number[]): number => sizes.reduce((all, size) => all * size, 1);
  const { axis = -1 } = params;
  if (axis === null) return { shape: [product(shape)], axis: 0 };
  if (params.flattenTo2D === true) {
    const from = (axis as number) < 0 ? (axis as number) + shape.length : (axis as number);
    return { shape: [product(shape.slice(0, from)), product(shape.slice(from))], axis: 1 };
  }
  if (typeof axis === 'number') return { shape, axis };
  const sorted = axis.map((a) => (a < 0 ? a + shape.length : a)).toSorted((a, b) => a - b);
  const first = sorted[0];
  if (first === undefined || sorted.some((a, i) => a !== first + i)) return undefined;
  const end = first + sorted.length;
  return {
    shape: [...shape.slice(0, first), product(shape.slice(first, end)), ...shape.slice(end)],
    axis: first,
  };
}

function forEachRow({ shape, axis }: View, length: number, visit: (indices: number[]) => void): void {
  const positive = axis < 0 ? axis + shape.length : axis;
  const k = shape[positive]!;
  const inner = shape.slice(positive + 1).reduce((all, size) => all * size, 1);
  for (let first = 0; first < length; first++) {
    if (Math.floor(first / inner) % k === 0) visit(Array.from({ length: k }, (_, j) => first + j * inner));
  }
}

function hardmax(x: FloatArray, view: View): FloatArray {
  const { argmax } = rowMax(x, { ...view });
  const y = x.slice().fill(0);
  let row = 0;
  forEachRow(view, x.length, (indices) => {
    y[indices[argmax[row++]!]!] = 1;
  });
  return y;
}

/** gx = J gy for the last axis; J is symmetric. */
function jacobianTimes(x: FloatArray, gy: ArrayLike<number>, { shape }: View): FloatArray {
  const k = shape.at(-1)!;
  const jacobian = softmaxJacobian(x, { shape });
  return x.map((_, at) => {
    const row = at - (at % k);
    let sum = 0;
    for (let j = 0; j < k; j++) sum += jacobian[at * k + j]! * gy[row + j]!;
    return sum;
  });
}

/** Every finite row within 1 ulp: the vectors' own tolerances would let an all-zero row of many classes pass. */
function worstUlp(x: FloatArray, y: FloatArray, view: View): number {
  const format = x instanceof Float32Array ? FLOAT32 : FLOAT64;
  let worst = 0;
  forEachRow(view, x.length, (indices) => {
    const row = indices.map((index) => x[index]!);
    if (row.some((logit) => Number.isNaN(logit) || logit === Infinity)) return;
    for (const [j, reference] of softmaxReference(row).entries()) {
      worst = Math.max(worst, ulpError(y[indices[j]!]!, reference, format));
    }
  });
  return worst;
}

const files = present ? readdirSync(folder).filter((name) => /(?<!shapes)\.json$/.test(name)) : ['(none)'];
const counts: { file: string; operation: string; run: number; skipped: number }[] = [];

function count(file: string, operation: string, what: 'run' | 'skipped'): void {
  let line = counts.find((other) => other.file === file && other.operation === operation);
  if (line === undefined) counts.push((line = { file, operation, run: 0, skipped: 0 }));
  line[what]++;
}

afterAll(() => {
  if (counts.length > 0) console.table(counts);
});

describe.each(files)('%s', (file) => {
  it('holds for the operations this package has', ({ skip }) => {
    if (loader === undefined) skip(missing);
    const { load, tensor, compare } = loader!;
    const failures: string[] = [];
    for (const test of load(fileURLToPath(new URL(file, folder))).cases ?? []) {
      const input = isOurs(test) ? tensor(test.inputs['x']) : undefined;
      const view = input && viewOf(test, input.shape);
      if (input === undefined || view === undefined) {
        count(file, test.op, 'skipped');
        continue;
      }
      count(file, test.op, 'run');
      // Integers are computed in float64, as their projects do.
      const x = input.dtype === 'float32' ? Float32Array.from(input.data) : Float64Array.from(input.data);
      const expected = tensor(test.expected['y'] ?? test.expected['gx']);
      const actual =
        test.op === 'hardmax'
          ? hardmax(x, view)
          : test.op === 'softmaxVjp'
            ? jacobianTimes(x, tensor(test.inputs['gy']).data, view)
            : softmax(x, { ...view });
      const difference = compare(actual, expected.data, test.tolerance);
      if (difference !== null) failures.push(`${test.id}: ${difference}`);
      if (test.op === 'hardmax' || test.op === 'softmaxVjp') continue;
      const ulp = worstUlp(x, actual, view);
      if (ulp > 1) failures.push(`${test.id}: ${ulp} ulp`);
    }
    expect(failures).toEqual([]);
  });
});

describe('the conformance vectors', () => {
  it('hold cases of each operation this package has', ({ skip }) => {
    if (!present) skip(missing);
    const run = (operation: string): number =>
      counts.reduce((all, line) => all + (line.operation === operation ? line.run : 0), 0);
    expect(run('softmax')).toBeGreaterThan(60);
    expect(run('softmaxExt')).toBeGreaterThan(0);
    expect(run('hardmax')).toBe(14);
    expect(run('softmaxVjp')).toBeGreaterThan(5);
  });
});
