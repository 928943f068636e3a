// The self-test: its hashes are those of this library's results, on arrays that hold what they should; and a result
// with other bits is noticed.
import { describe, expect, it } from 'vitest';
import { goldenHashes } from '../../lib/goldenHashes.ts';
import { cases, hashOf, selfTest } from '../../lib/selfTest.ts';
import { byName } from '../support/by-name.ts';

const printing = process.env['GOLDEN'] === 'print';

if (printing) {
  const lines = cases().map(({ name, compute }) => `  '${name}': '${hashOf(compute('cpu'))}',`);
  console.log(lines.join('\n'));
}

describe.skipIf(printing)('the golden hashes', () => {
  it('are those of all cases', () => {
    const names = cases().map(({ name }) => name);
    expect(names).toEqual(Object.keys(goldenHashes));
    expect(new Set(Object.values(goldenHashes)).size).toBe(names.length);
  });

  it.each(byName(cases()))('%s', (name, { compute }) => {
    expect(hashOf(compute('cpu'))).toBe(goldenHashes[name]);
  });
});

describe('the cases', () => {
  it('are of every function and type, both axes, special values, and a row that threads share', () => {
    const names = cases().map(({ name }) => name);
    for (const type of ['float32', 'float64']) {
      for (const input of ['2 x 5', '37 x 101', 'special values']) {
        for (const operation of ['softmax', 'rowMax', 'softmaxJacobian']) {
          expect(names).toContain(`${operation}, ${type}, ${input}`);
        }
        for (const operation of ['softmax', 'rowMax']) {
          expect(names).toContain(`${operation} along axis 0, ${type}, ${input}`);
        }
      }
      for (const operation of ['softmax', 'rowMax']) {
        expect(names).toContain(`${operation}, ${type}, 1 x 250007`);
      }
    }
  });

  it.each(byName(cases().filter(({ name }) => /^softmax(?:,| along)/.test(name))))(
    '%s: probabilities that sum to 1, or NaN',
    (name, { compute }) => {
      const [probabilities] = compute('cpu');
      const numbers = Array.from(probabilities!).filter((p) => !Number.isNaN(p));
      const [rows = 10, k = 4] = (/(\d+) x (\d+)/.exec(name) ?? []).slice(1).map(Number);
      const alongRows = !name.includes('axis 0');
      // Of the special values 7 rows and 3 columns have numbers and no NaN or Infinity.
      const sums = name.includes('special') ? (alongRows ? 7 : 3) : alongRows ? rows : k;
      expect(numbers.length).toBeGreaterThan(0);
      expect(Math.abs(numbers.reduce((sum, p) => sum + p, 0) - sums)).toBeLessThan(1e-4);
    },
  );
});

describe('a result with other bits', () => {
  it('is named, with both hashes', () => {
    const [name = ''] = Object.keys(goldenHashes);
    const expected = '0000000000000000';
    const { differing, results, failure } = selfTest('cpu', { ...goldenHashes, [name]: expected });
    expect(differing).toEqual([{ name, expected, actual: goldenHashes[name] }]);
    expect(results).toBe(Object.keys(goldenHashes).length);
    expect(failure).toBeUndefined();
  });

  it('has another hash, even where NaN or the sign of 0 alone differs', () => {
    expect(hashOf([Float32Array.of(0)])).not.toBe(hashOf([Float32Array.of(-0)]));
    const bits = new Uint32Array([0x7fc00000, 0x7fc00001]);
    const nans = new Float32Array(bits.buffer);
    expect(hashOf([nans.subarray(0, 1)])).not.toBe(hashOf([nans.subarray(1)]));
  });
});

it('a device that cannot be used is a failure, not an exception', () => {
  const { results, failure } = selfTest('cuda:999');
  expect(results).toBe(0);
  expect(failure).toMatch(/^Expected a GPU that can be used for device 'cuda:999'/);
});
