// More than 2^31 elements: every offset is 64 bits wide. 8 GiB and more of memory are written, and freed in between.
import { freemem } from 'node:os';
import { expect, it } from 'vitest';
import { softmax, softmaxJacobian } from '../../lib/index.ts';

const gibibyte = 2 ** 30;

it('computes softmax of 2^31 + 3072 logits in place', ({ skip }) => {
  skip(freemem() < 10 * gibibyte, 'less than 10 GiB of free memory');
  const k = 1024;
  const rows = 2 ** 21 + 3;
  const x = new Float32Array(rows * k);
  const marked = [0, 2 ** 20 + 1, 2 ** 21, rows - 1];
  for (const row of marked) x.set([1, 2, 3], row * k + 7);
  softmax(x, { shape: [rows, k], out: x });

  const one = new Float32Array(k);
  one.set([1, 2, 3], 7);
  const expected = softmax(one);
  for (const row of marked) expect(x.subarray(row * k, (row + 1) * k)).toEqual(expected);
  for (const row of [1, 2 ** 20, 2 ** 21 - 1, 2 ** 21 + 1]) {
    expect(x.subarray(row * k, (row + 1) * k).every((p) => p === 1 / k)).toBe(true);
  }
});

it('computes softmax of one row of 2^31 + 5 logits', ({ skip }) => {
  skip(freemem() < 10 * gibibyte, 'less than 10 GiB of free memory');
  const k = 2 ** 31 + 5;
  const x = new Float32Array(k);
  x[k - 1] = Math.log(2 ** 31);
  softmax(x, { out: x });
  // k - 1 terms of 1 and one of e^x.
  const sum = k - 1 + Math.exp(Math.fround(Math.log(2 ** 31)));
  for (const j of [0, 1, 2 ** 30, 2 ** 31 - 1, 2 ** 31, k - 2]) expect(x[j]).toBe(Math.fround(1 / sum));
  expect(x[k - 1]).toBe(Math.fround((sum - k + 1) / sum));
});

it('computes Jacobians of more than 2^31 entries', ({ skip }) => {
  skip(freemem() < 10 * gibibyte, 'less than 10 GiB of free memory');
  const k = 256;
  const rows = 2 ** 15 + 1;
  const x = new Float32Array(rows * k);
  x.set([3, 2, 1], (rows - 1) * k);
  const jacobian = softmaxJacobian(x, { shape: [rows, k] });
  expect(jacobian.length).toBe(rows * k * k);
  expect(jacobian[0]).toBe((1 / k) * (1 - 1 / k));
  const last = softmaxJacobian(x.slice((rows - 1) * k));
  expect(jacobian.subarray((rows - 1) * k * k)).toEqual(last);
});
