// More than 2^31 elements. The memory is only read, and is zero but for one page: the system keeps no copy of it.
import { expect, it } from 'vitest';
import { rowMax } from '../../lib/index.ts';

it('finds maxima among 2^31 + 3072 logits', () => {
  const k = 1024;
  const rows = 2 ** 21 + 3;
  const x = new Float32Array(rows * k);
  x[(rows - 2) * k + 5] = 7;
  const { max, argmax } = rowMax(x, { shape: [rows, k] });
  expect(max[rows - 2]).toBe(7);
  expect(argmax[rows - 2]).toBe(5);
  expect(max.filter((value) => value !== 0).length).toBe(1);

  // As 2^20 + 1 columns: the offsets of all but the first rows exceed 32 bits too.
  const columns = rowMax(x, { shape: [k, rows], axis: 0 });
  const at = (rows - 2) * k + 5;
  expect(columns.max[at % rows]).toBe(7);
  expect(columns.argmax[at % rows]).toBe(Math.floor(at / rows));
});
