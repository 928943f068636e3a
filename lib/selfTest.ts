// The self-test: every operation on inputs that are made of integers, so that any machine makes the same ones, and a hash
// of the bits of each result. As results are the same bits for every number of threads, instruction set and device,
// every hash is known beforehand (goldenHashes.ts).
//
// The generator: s <- (1664525 s + 1013904223) mod 2^32 from s = 1, and s' is the state after s. Logits uniform on
// [-16, 16) are (floor(s / 2^8) - 2^23) / 2^19 in float32 and, of two states,
// (floor(s / 2^6) 2^27 + floor(s' / 2^5) - 2^52) / 2^48 in float64. All of it is exact.
import { createHash } from 'node:crypto';
import type { FloatArray } from './binding.ts';
import { goldenHashes } from './goldenHashes.ts';
import { softmaxJacobian } from './jacobian.ts';
import type { Device } from './placement.ts';
import { rowMax } from './rowMax.ts';
import { softmax } from './softmax.ts';

/** How the self-test ended on a device. */
export interface SelfTest {
  readonly device: Device;
  /** The results that were compared. */
  readonly results: number;
  /** Those whose bits are not the expected ones. */
  readonly differing: readonly Difference[];
  /** Why the test could not be carried out to the end, where it could not. */
  readonly failure?: string;
}

/** A result with other bits than it should have, as the hashes of both. */
export interface Difference {
  readonly name: string;
  readonly expected: string;
  readonly actual: string;
}

/** One result of the self-test. */
export interface Case {
  readonly name: string;
  /** Computes it on a device and gives the arrays that make it up. */
  readonly compute: (device: Device) => readonly (FloatArray | Int32Array)[];
}

/** Computes every case on a device, and compares the hashes. It does not throw. */
export function selfTest(
  device: Device,
  expected: Readonly<Record<string, string>> = goldenHashes,
): SelfTest {
  const differing: Difference[] = [];
  let results = 0;
  try {
    for (const { name, compute } of cases()) {
      const actual = hashOf(compute(device));
      const hash = String(expected[name]);
      if (actual !== hash) differing.push({ name, expected: hash, actual });
      results++;
    }
    return { device, results, differing };
  } catch (error) {
    return { device, results, differing, failure: error instanceof Error ? error.message : String(error) };
  }
}

/** The first 64 bits of SHA-256, over the arrays' bytes. */
export function hashOf(arrays: readonly (FloatArray | Int32Array)[]): string {
  const hash = createHash('sha256');
  for (const array of arrays) hash.update(array);
  return hash.digest('hex').slice(0, 16);
}

/** What the cases are made of: a matrix of logits, with its name. */
interface Input {
  readonly name: string;
  readonly x: FloatArray;
  readonly shape: readonly [rows: number, k: number];
}

export function cases(): Case[] {
  return [Float32Array, Float64Array].flatMap((type) => {
    const uniform = (rows: number, k: number): Input => {
      const x = uniformLogits(type, rows * k);
      return { name: `${nameOf(type)}, ${rows} x ${k}`, x, shape: [rows, k] };
    };
    const few = uniform(2, 5); // calls on a few elements copy them
    const long = uniform(1, 250_007); // threads share a long row
    return [
      ...[few, uniform(37, 101), specialRows(type)].flatMap((input) => [
        softmaxOf(input),
        softmaxOf(input, 0),
        rowMaxOf(input),
        rowMaxOf(input, 0),
        jacobianOf(input),
      ]),
      softmaxOf(long),
      rowMaxOf(long),
    ];
  });
}

function softmaxOf({ name, x, shape }: Input, axis?: number): Case {
  const compute: Case['compute'] = (device) => [softmax(x, { shape, axis, device })];
  return { name: `softmax${along(axis)}, ${name}`, compute };
}

function rowMaxOf({ name, x, shape }: Input, axis?: number): Case {
  const compute: Case['compute'] = (device) => {
    const { max, argmax } = rowMax(x, { shape, axis, device });
    return [max, argmax];
  };
  return { name: `rowMax${along(axis)}, ${name}`, compute };
}

function jacobianOf({ name, x, shape }: Input): Case {
  return { name: `softmaxJacobian, ${name}`, compute: (device) => [softmaxJacobian(x, { shape, device })] };
}

function along(axis: number | undefined): string {
  return axis === undefined ? '' : ` along axis ${axis}`;
}

type FloatArrayType = typeof Float32Array | typeof Float64Array;

function nameOf(type: FloatArrayType): string {
  return type === Float32Array ? 'float32' : 'float64';
}

function uniformLogits(type: FloatArrayType, length: number): FloatArray {
  let state = 1;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0);
  const x = new type(length);
  for (let i = 0; i < length; i++) {
    if (type === Float32Array) {
      x[i] = ((next() >>> 8) - 2 ** 23) / 2 ** 19;
    } else {
      const high = next() >>> 6;
      x[i] = (high * 2 ** 27 + (next() >>> 5) - 2 ** 52) / 2 ** 48;
    }
  }
  return x;
}

/** Logits that are no numbers, results that become 0, and rows of any magnitude. */
function specialRows(type: FloatArrayType): Input {
  const rows = [
    [0, NaN, 1, 2],
    [1, Infinity, 0, -1],
    [-Infinity, -Infinity, -Infinity, -Infinity],
    [-Infinity, 0, -100_000, 2],
    [0, -87, -88, -104],
    [0, -708, -709, -746],
    [-0, 0, 0, -0],
    [65_535, 65_536, 65_537, 0],
    [-70_000, -70_001, -70_002, -70_003],
    [1e30, 1e30, -1e30, 3],
  ];
  return { name: `${nameOf(type)}, special values`, x: type.from(rows.flat()), shape: [rows.length, 4] };
}
