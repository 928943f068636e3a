// Golden hashes: the bits of softmax and its Jacobian for inputs that are made of integers alone, so that any machine
// makes the same ones. Every instruction set must give these bits; a change of the exponential's coefficients, of the
// order of a sum or of a special value changes them, and then raises the version of the numerical contract.
//
// Contract version 1. After a change that is meant, `GOLDEN=print npx vitest run test/isa/golden.test.ts` prints the
// new table.
//
// The generator: s <- (1664525 s + 1013904223) mod 2^32 from s = 1, and s' is the state after s. Logits uniform on
// [-2^w, 2^w) are (floor(s / 2^8) - 2^23) 2^(w - 23) in float32 and, of two states,
// (floor(s / 2^6) 2^27 + floor(s' / 2^5) - 2^52) 2^(w - 52) in float64. The hash is FNV-1a with 64 bits, over the
// results as little-endian bytes, one row after another.
import { afterAll, describe, expect, it } from 'vitest';
import { softmax, softmaxJacobian } from '../../lib/index.ts';
import { fnv1a } from '../support/bits.ts';
import { byName } from '../support/by-name.ts';
import { powerOfTwo } from '../support/double-double.ts';
import type { FloatArray, Format } from '../support/ulp.ts';
import { FORMATS } from '../support/ulp.ts';

const GOLDEN: Record<string, string> = {
  'softmax float32, k = 1 to 100, within 2^1': '7ea6b5a00614d162',
  'softmax float32, k = 127 to 4097, within 2^1': 'ec1a824a7d7cabca',
  'softmax float32, k = 10,007 and 65,537, within 2^1': '66d32edf7d393fb8',
  'softmax float32, k = 1 to 100, within 2^3': '4a8fa46929b3e1cd',
  'softmax float32, k = 127 to 4097, within 2^3': 'fa4e22ab697b2930',
  'softmax float32, k = 10,007 and 65,537, within 2^3': 'a09d4aaa5e81a8b7',
  'softmax float32, k = 1 to 100, within 2^6': '569ced8681b90095',
  'softmax float32, k = 127 to 4097, within 2^6': '194ec3a6c305ae68',
  'softmax float32, k = 10,007 and 65,537, within 2^6': 'c3145d2c743fca18',
  'softmax float32, k = 1 to 100, within 2^10': '68292194808fcbc2',
  'softmax float32, k = 127 to 4097, within 2^10': 'd345e2ecd9c14889',
  'softmax float32, k = 10,007 and 65,537, within 2^10': 'b9ad7137eb3ccb4d',
  'softmax float32, k = 1 to 100, within 2^17': 'e213f19cb07e6060',
  'softmax float32, k = 127 to 4097, within 2^17': '9ff34bf97a77a20b',
  'softmax float32, k = 10,007 and 65,537, within 2^17': '89a12004dca9bd4e',
  'Jacobian float32, k = 1 to 40, within 2^1': '0cf6329607d74b50',
  'Jacobian float32, k = 1 to 40, within 2^6': 'd784aaa005b8dc32',
  'softmax float32, special rows': '08cc9fa133748c4a',
  'softmax float64, k = 1 to 100, within 2^1': 'a64a8fdd42cf1fe2',
  'softmax float64, k = 127 to 4097, within 2^1': '129864b79435dbec',
  'softmax float64, k = 10,007 and 65,537, within 2^1': '38211577d2a0b73d',
  'softmax float64, k = 1 to 100, within 2^3': '1222aee5db086947',
  'softmax float64, k = 127 to 4097, within 2^3': '4825e58114c0404e',
  'softmax float64, k = 10,007 and 65,537, within 2^3': '46fd61bac2b5a6e8',
  'softmax float64, k = 1 to 100, within 2^6': '4139b465c72063d3',
  'softmax float64, k = 127 to 4097, within 2^6': '264c6ab3b3a9ba3d',
  'softmax float64, k = 10,007 and 65,537, within 2^6': 'b298baa118d37a63',
  'softmax float64, k = 1 to 100, within 2^10': '2e100e838695560f',
  'softmax float64, k = 127 to 4097, within 2^10': 'f99d75ebfce20578',
  'softmax float64, k = 10,007 and 65,537, within 2^10': '71be61c53e58e634',
  'softmax float64, k = 1 to 100, within 2^17': '0f07dee3b3d894a5',
  'softmax float64, k = 127 to 4097, within 2^17': 'a7fe0a6b2e406462',
  'softmax float64, k = 10,007 and 65,537, within 2^17': '24f84c0f343d4527',
  'Jacobian float64, k = 1 to 40, within 2^1': '36c55d49f50f0f52',
  'Jacobian float64, k = 1 to 40, within 2^6': '0921400dbd19f883',
  'softmax float64, special rows': '1f913cd8808c9cbf',
};

type Generator = () => FloatArray;

function integerState(): () => number {
  let state = 1;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0);
}

/** Rows of the lengths ks, uniform on [-2^width, 2^width). */
function uniformRows(format: Format, ks: readonly number[], width: number): FloatArray[] {
  const next = integerState();
  const logit =
    format.name === 'float32'
      ? () => ((next() >>> 8) - powerOfTwo(23)) * powerOfTwo(width - 23)
      : () => {
          const high = next() >>> 6;
          return (high * powerOfTwo(27) + (next() >>> 5) - powerOfTwo(52)) * powerOfTwo(width - 52);
        };
  return ks.map((k) => format.array(k).map(logit));
}

function concatenated(format: Format, arrays: readonly FloatArray[]): FloatArray {
  const all = format.array(arrays.reduce((length, array) => length + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    all.set(array, at);
    at += array.length;
  }
  return all;
}

const LENGTHS = {
  'k = 1 to 100': Array.from({ length: 100 }, (_, i) => i + 1),
  'k = 127 to 4097': [
    127, 128, 129, 255, 256, 257, 500, 511, 512, 513, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 4097,
  ],
  'k = 10,007 and 65,537': [10_007, 65_537],
};
// Ordinary logits; results that are flushed; rows on both sides of the magnitude from which they are shifted.
const WIDTHS = [1, 3, 6, 10, 17];

const cases: { name: string; make: Generator }[] = FORMATS.flatMap((format) => [
  ...WIDTHS.flatMap((width) =>
    Object.entries(LENGTHS).map(([lengths, ks]) => ({
      name: `softmax ${format.name}, ${lengths}, within 2^${width}`,
      make: () =>
        concatenated(
          format,
          uniformRows(format, ks, width).map((row) => softmax(row)),
        ),
    })),
  ),
  ...[1, 6].map((width) => ({
    name: `Jacobian ${format.name}, k = 1 to 40, within 2^${width}`,
    make: () =>
      concatenated(
        format,
        uniformRows(
          format,
          Array.from({ length: 40 }, (_, i) => i + 1),
          width,
        ).map((row) => softmaxJacobian(row)),
      ),
  })),
  {
    name: `softmax ${format.name}, special rows`,
    make: () =>
      concatenated(
        format,
        [
          [0, NaN],
          [1, Infinity],
          [-Infinity, -Infinity],
          [-Infinity, 0, -1e5, 2],
          [0, -87, -88, -708, -709],
          [65_535, 65_536, 65_537],
          [1e30, 1e30, -1e30],
          [-70_000, -70_001, -70_002],
        ].map((row) => {
          const x = format.array(row.length);
          x.set(row);
          return softmax(x);
        }),
      ),
  },
]);

const printing = process.env['GOLDEN'] === 'print';
const measured: Record<string, string> = {};

describe('golden hashes', () => {
  it.each(byName(cases))('%s', (name, { make }) => {
    const result = make();
    expect(result.some((value) => value > 0)).toBe(true);
    measured[name] = fnv1a(result);
    expect(measured[name]).toBe(printing ? measured[name] : GOLDEN[name]);
  });

  it('are all used', () => {
    const used = printing ? measured : GOLDEN;
    expect(Object.keys(used).toSorted()).toEqual(cases.map(({ name }) => name).toSorted());
  });

  afterAll(() => {
    if (!printing) return;
    const lines = Object.entries(measured).map(([name, hash]) => `  '${name}': '${hash}',`);
    console.log(`const GOLDEN: Record<string, string> = {\n${lines.join('\n')}\n};`);
  });
});
