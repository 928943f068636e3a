// A GPU of few multiprocessors: there small arrays are as much work for a block as large ones are elsewhere, so that every
// loop of the kernels goes round more than once, and the bits are those of the CPU.
import { afterAll, beforeAll, describe, it } from 'vitest';
import { expectSameJacobian, expectSameRowMax, expectSameSoftmax, mixedRows } from '../cuda/support.ts';
import { byName } from '../support/by-name.ts';
import { randomFrom } from '../support/random.ts';
import { FORMATS } from '../support/ulp.ts';
import { clear, emulator, findDevicesAnew } from './machine.ts';

// The last chunk of a row, or of a slice, is mostly not a whole one.
const lengths = [1000, 1500, 2100, 3001, 5000, 9000, 20_000, 20_001, 70_001];
const alongOtherAxes = [
  [20, 1500, 2],
  [3, 2500, 33],
  [7, 5000, 3],
  [1, 9001, 8],
  [2, 700, 70],
] as const;

// A part of a GPU that was divided may have room for smaller clusters only; others are refused.
describe.each([
  [1, 1],
  [3, 2],
])('%i multiprocessors, clusters of %i', (multiprocessors, cluster) => {
  beforeAll(() => {
    emulator.configure({ multiprocessors, cluster });
    findDevicesAnew();
  });
  afterAll(() => {
    clear();
    emulator.configure({ multiprocessors: 0, cluster: 0 });
    findDevicesAnew();
  });

  describe.each(byName(FORMATS))('%s', (_name, format) => {
    it('rows', () => {
      const random = randomFrom(multiprocessors);
      for (const k of lengths) {
        for (const rows of k < 10_000 ? [2, 9] : [1, 4]) {
          const x = mixedRows(rows, k, random, format);
          expectSameSoftmax(x, { shape: [rows, k] }, ['tensor']);
          expectSameRowMax(x, { shape: [rows, k] }, ['tensor']);
        }
      }
    });

    it('along another axis', () => {
      const random = randomFrom(multiprocessors);
      for (const shape of alongOtherAxes) {
        const [outer, k, inner] = shape;
        const x = mixedRows(outer * inner, k, random, format);
        expectSameSoftmax(x, { shape, axis: 1 }, ['tensor']);
        expectSameRowMax(x, { shape, axis: 1 }, ['tensor']);
      }
    });

    it('Jacobians', () => {
      const random = randomFrom(multiprocessors);
      for (const [rows, k] of [
        [300, 5],
        [40, 40],
        [3, 257],
        [1, 1100],
      ] as const) {
        expectSameJacobian(mixedRows(rows, k, random, format), [rows, k], ['tensor']);
      }
    });
  });
});
