// The functions of softmax-native/promises give what those of softmax-native give, in the same form and the same bits,
// and reject what those refuse.
import { describe, expect, it } from 'vitest';
import * as sync from '../../lib/index.ts';
import * as promises from '../../lib/promises.ts';
import { expectSameBits } from '../support/bits.ts';
import { outOfRange, overlapping, shapeMismatch, unknownOption, wrongType } from '../unit/support.ts';
import { expectRejection, k, logits, rows, shared } from './support.ts';

describe.each(['float32', 'float64'] as const)('%s', (type) => {
  const x = logits(type);

  it.each([
    { shape: [rows, k] },
    { shape: [rows, k], axis: 0 },
    { shape: [3, rows / 3, k], axis: 1 },
    { shape: [rows * k] },
    { shape: [(rows * k) / 2, 2], axis: 0 },
    { shape: [rows, k], threads: 1 },
  ])('softmax and rowMax of %j', async (options) => {
    expectSameBits(await promises.softmax(x, options), sync.softmax(x, options), 'softmax');
    const { max, argmax, shape } = await promises.rowMax(x, options);
    const expected = sync.rowMax(x, options);
    expectSameBits(max, expected.max, 'rowMax');
    expect(argmax).toEqual(expected.argmax);
    expect(shape).toEqual(expected.shape);
  });

  it.each([
    [rows, k],
    [1, 500],
    [3, 200],
  ])('softmaxJacobian of %i x %i', async (n, classes) => {
    const options = { shape: [n, classes] };
    const part = x.slice(0, n * classes);
    expectSameBits(
      await promises.softmaxJacobian(part, options),
      sync.softmaxJacobian(part, options),
      'softmaxJacobian',
    );
  });

  it('a row longer than a step of the work, and several', async () => {
    const long = logits(type, 2 ** 23 + 77);
    expectSameBits(await promises.softmax(long), sync.softmax(long), 'one row');
    const two = { shape: [2, 2 ** 22 + 19] };
    const part = long.subarray(0, 2 ** 23 + 38);
    expectSameBits(await promises.softmax(part, two), sync.softmax(part, two), 'two rows');
    // Rows whose logits are shifted by their maximum are summed twice.
    const large = part.map((value) => value * 2 ** 20);
    expectSameBits(await promises.softmax(large, two), sync.softmax(large, two), 'large logits');
  });
});

describe('forms of x', () => {
  const plain = Array.from({ length: 200 }, (_, row) =>
    Array.from({ length: 60 }, (__, j) => Math.cos(row * j)),
  );

  it.each([1, 200])('%i rows of plain numbers', async (n) => {
    const x = plain.slice(0, n);
    expect(await promises.softmax(x)).toEqual(sync.softmax(x));
    expect(await promises.softmax(x.flat())).toEqual(sync.softmax(x.flat()));
    expect(await promises.softmaxJacobian(x)).toEqual(sync.softmaxJacobian(x));
    expect(await promises.rowMax(x)).toEqual(sync.rowMax(x));
  });

  it('objects of an array and its shape, whose shape may change meanwhile', async () => {
    const data = logits();
    for (const name of ['shape', 'dims']) {
      const sizes = [rows, k];
      const x = { data, [name]: sizes } as unknown as sync.Tensor;
      const result = promises.softmax(x);
      sizes[0] = 7;
      expect(await result).toEqual(sync.softmax({ data, [name]: [rows, k] } as unknown as sync.Tensor));
    }
  });

  it('few elements, and none', async () => {
    expect(await promises.softmax([0, 0])).toEqual([0.5, 0.5]);
    expect(await promises.softmax(new Float32Array(0))).toEqual(new Float32Array(0));
    expect(await promises.rowMax(Float32Array.of(1, 3))).toEqual(sync.rowMax(Float32Array.of(1, 3)));
    expect(await promises.softmaxJacobian(new Float64Array(0), { shape: [3, 0] })).toEqual(
      new Float64Array(0),
    );
  });
});

describe('out', () => {
  const x = logits();
  const expected = sync.softmax(x, { shape: [rows, k] });
  const expectedJacobian = sync.softmaxJacobian(x, { shape: [rows, k] });

  it.each([
    ['of ordinary memory', (array: Float32Array) => array],
    ['of shared memory', shared],
  ])('%s is filled and given back; elements past the result stay', async (_name, memory) => {
    const out = memory(new Float32Array(rows * k + 3).fill(7));
    expect(await promises.softmax(x, { shape: [rows, k], out })).toBe(out);
    expectSameBits(out.slice(0, -3), expected, 'softmax');
    expect(out.slice(-3)).toEqual(Float32Array.of(7, 7, 7));

    const jacobian = memory(new Float32Array(rows * k * k));
    expect(await promises.softmaxJacobian(x, { shape: [rows, k], out: jacobian })).toBe(jacobian);
    expectSameBits(jacobian.slice(), expectedJacobian, 'softmaxJacobian');

    const max = memory(new Float32Array(rows + 1).fill(7));
    const result = await promises.rowMax(x, { shape: [rows, k], out: { max } });
    expect(result.max).toBe(max);
    expectSameBits(max.slice(0, -1), sync.rowMax(x, { shape: [rows, k] }).max, 'rowMax');
    expect(max[rows]).toBe(7);
  });

  it('may be x, of either memory, or an object', async () => {
    for (const own of [x.slice(), shared(x)]) {
      expect(await promises.softmax(own, { shape: [rows, k], out: own })).toBe(own);
      expectSameBits(own.slice(), expected, 'in place');
    }
    const out = { data: new Float32Array(rows * k), shape: [rows, k] };
    expect(await promises.softmax({ data: x, shape: [rows, k] }, { out })).toBe(out);
    expectSameBits(out.data, expected, 'an object');
  });

  it('in shared memory with x in shared memory', async () => {
    const out = shared(new Float32Array(rows * k));
    await promises.softmax(shared(x), { shape: [rows, k], out });
    expectSameBits(out.slice(), expected, 'shared');
  });
});

describe('arguments that the synchronous functions refuse', () => {
  const x = logits();
  const memory = new Float32Array(2 * rows * k);

  it('reject the promise, and are thrown by no call', async () => {
    const calls: [() => Promise<unknown>, Parameters<typeof expectRejection>[1]][] = [
      [() => promises.softmax('x' as unknown as number[]), wrongType(/for x but received 'x'/)],
      [() => promises.softmax(x, { shape: [7] }), shapeMismatch(/the length of x/)],
      [() => promises.rowMax(x, { axis: 3 }), outOfRange(/for axis but received 3/)],
      [
        () => promises.softmaxJacobian(x, { shape: [rows, k], axis: 0 } as object),
        outOfRange(/the last axis/),
      ],
      [
        () => promises.softmax(x, { out: new Float32Array(1) }),
        shapeMismatch(/for out but received one of 1/),
      ],
      [() => promises.softmax(x, { threads: 0 }), outOfRange(/for threads/)],
      [() => promises.softmax(x, 5 as unknown as object), wrongType(/for options/)],
      [
        () => promises.softmax(x, { signals: undefined } as object),
        unknownOption(/^Expected one of shape, .*signal.* for the name of an option but received 'signals'/),
      ],
      [() => promises.softmaxJacobian(x, { keepdims: true } as object), unknownOption(/received 'keepdims'/)],
      [() => promises.softmax(x, { signal: {} as AbortSignal }), wrongType(/an AbortSignal for signal/)],
      [
        () => promises.softmax(x, { onProgress: 1 as unknown as () => void }),
        wrongType(/a function for onProgress/),
      ],
      [() => promises.softmax(x, { transfer: 1 as unknown as true }), wrongType(/a boolean for transfer/)],
    ];
    for (const [call, refusal] of calls) await expectRejection(call(), refusal);
  });

  it('overlap, by buffer or by address', async () => {
    const a = memory.subarray(0, rows * k);
    const b = memory.subarray(1, rows * k + 1);
    memory.fill(1);
    await expectRejection(promises.softmax(a, { out: b }), overlapping(/for out/));
    const c = shared(memory);
    const [d, e] = [c.subarray(0, rows * k), c.subarray(1, rows * k + 1)];
    await expectRejection(promises.softmax(d, { out: e }), overlapping(/for out/));
    await expectRejection(
      promises.rowMax(d, { shape: [rows, k], out: { max: e } }),
      overlapping(/for out.max/),
    );
    await expectRejection(promises.softmaxJacobian(d.subarray(0, 200), { out: c }), overlapping(/for out/));
    expect(memory.every((value) => value === 1)).toBe(true);
    expect(c.every((value) => value === 1)).toBe(true);
  });

  it('a getter that throws rejects with what it threw', async () => {
    const thrown = new Error('mine');
    const options = {
      get shape(): number[] {
        throw thrown;
      },
    };
    await expect(promises.softmax(x, options)).rejects.toBe(thrown);
  });
});
