// Calls in the background on a GPU, of arrays and of tensors.
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { rowMax, softmax, softmaxJacobian } from '../../lib/index.ts';
import * as promises from '../../lib/promises.ts';
import { expectSameBits } from '../support/bits.ts';
import { byName } from '../support/by-name.ts';
import { randomFrom } from '../support/random.ts';
import { FORMATS } from '../support/ulp.ts';
import { device, expectSameIndices, manyRows, noGpu } from './support.ts';

const onGpu = { device: 'cuda' } as const;
const onCpu = { device: 'cpu' } as const;

describe.skipIf(noGpu).each(byName(FORMATS))('in %s', (_format, format) => {
  // Several pieces of at least 1 MB.
  const [rows, k] = [Math.ceil((4.6 * 2 ** 20) / (format.name === 'float32' ? 4 : 8) / 512), 512];
  const shape = [rows, k];
  const x = manyRows(rows, k, randomFrom(90), format);
  const few = x.subarray(0, 30 * k);

  it('arrays give the bits of the CPU', async () => {
    const expected = softmax(x, { shape, ...onCpu });
    const calls = [x, x.slice()].map((logits) => promises.softmax(logits, { shape, ...onGpu }));
    calls.push(promises.softmax(x.slice(), { shape, ...onGpu, transfer: true }));
    const own = x.slice();
    calls.push(promises.softmax(own, { shape, ...onGpu, out: own }));
    for (const result of await Promise.all(calls)) expectSameBits(result, expected, 'softmax');

    const maxima = rowMax(x, { shape, ...onCpu });
    const { max, argmax } = await promises.rowMax(x, { shape, ...onGpu });
    expectSameBits(max, maxima.max, 'rowMax');
    expectSameIndices(argmax, maxima.argmax, 'rowMax');

    const jacobian = await promises.softmaxJacobian(few, { shape: [30, k], ...onGpu });
    expectSameBits(jacobian, softmaxJacobian(few, { shape: [30, k], ...onCpu }), 'softmaxJacobian');
    for await (const { row, data } of promises.jacobianRows(few, {
      shape: [30, k],
      ...onGpu,
      rowsPerChunk: 20,
    })) {
      const first = row * k * k;
      expectSameBits(data, jacobian.slice(first, first + data.length), `rows from ${row}`);
    }
  });

  it('they are used by both APIs at the same time', async () => {
    const expected = softmax(x, { shape, ...onCpu });
    const later = promises.softmax(x, { shape, ...onGpu });
    expectSameBits(softmax(x, { shape, ...onGpu }), expected, 'at once');
    expectSameBits(await later, expected, 'later');
  });

  it('tensors are there when the promise is kept', async () => {
    const tensor = device().tensor(few, { shape: [30, k] });
    const probabilities = await promises.softmax(tensor);
    const { max, argmax } = await promises.rowMax(tensor);
    const jacobian = await promises.softmaxJacobian(tensor);
    expectSameBits(probabilities.dataSync(), softmax(few, { shape: [30, k], ...onCpu }), 'softmax');
    expectSameIndices(argmax.dataSync(), rowMax(few, { shape: [30, k], ...onCpu }).argmax, 'rowMax');
    expect(jacobian.shape).toEqual([30, k, k]);
    for (const each of [tensor, probabilities, max, argmax, jacobian]) each.dispose();
    await expect(promises.softmax(tensor)).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
  });

  it('a signal stops calls between pieces, and those that wait', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const calls = Array.from({ length: 4 }, () => promises.softmax(x, { shape, ...onGpu, signal }));
    await sleep(1);
    controller.abort();
    const ends = await Promise.allSettled(calls);
    expect(ends.filter(({ status }) => status === 'rejected').length).toBeGreaterThanOrEqual(2);
    for (const end of ends) {
      if (end.status === 'rejected')
        expect(end.reason).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
      else expectSameBits(end.value, softmax(x, { shape, ...onCpu }), 'a call that was done');
    }
    expectSameBits(
      await promises.softmax(x, { shape, ...onGpu }),
      softmax(x, { shape, ...onCpu }),
      'the next',
    );
  });

  it('onProgress counts the elements of the pieces', async () => {
    const reports: number[] = [];
    await promises.softmax(x, { shape, ...onGpu, onProgress: (done) => reports.push(done) });
    expect(reports.at(-1)).toBe(x.length);
    expect(reports).toEqual(reports.toSorted((a, b) => a - b));
  });
});

it('refuses a tensor for jacobianRows', { skip: noGpu }, () => {
  const tensor = device().tensor(Float32Array.of(1, 2), { shape: [2] });
  expect(() => promises.jacobianRows(tensor as never)).toThrow(/in the memory of the host for x/);
  tensor.dispose();
});
