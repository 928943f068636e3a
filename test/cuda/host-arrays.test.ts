// Arrays of the host on a GPU: those that are computed in several pieces, page-locked ones, and what is refused.
import { describe, expect, it } from 'vitest';
import { allocPinned, rowMax, softmax, softmaxJacobian } from '../../lib/index.ts';
import { expectSameBits } from '../support/bits.ts';
import { byName } from '../support/by-name.ts';
import { collectGarbage } from '../support/garbage.ts';
import { randomFrom } from '../support/random.ts';
import { FORMATS, type FloatArray, type Format } from '../support/ulp.ts';
import { expectRefusal, overlapping, shapeMismatch, wrongType } from '../unit/support.ts';
import { emulator, expectSameIndices, manyRows, noGpu } from './support.ts';

/** Page-locked copies of arrays, and where they begin inside their memory. */
function pinned(array: FloatArray, format: Format, first = 0): FloatArray {
  const view = allocPinned(format.name, array.length + first).subarray(first);
  view.set(array);
  return view;
}

describe.skipIf(noGpu).each(byName(FORMATS))('in %s', (_format, format) => {
  // A piece has at least 1 MB, and the fourth one takes the device memory of the first.
  const megabyte = 2 ** 20 / (format.name === 'float32' ? 4 : 8);

  it.each<[string, number[], number]>([
    ['rows', [Math.ceil((4.6 * megabyte) / 500), 500], 1],
    ['columns of whole blocks', [5 * Math.ceil((1.02 * megabyte) / 3000), 100, 30], 1],
    ['columns of one block', [301, Math.ceil((4.3 * megabyte) / 301)], 0],
  ])('several pieces of %s', (_name, shape, axis) => {
    const [length, random] = [shape.reduce((product, size) => product * size, 1), randomFrom(80)];
    const x = manyRows(length, 1, random, format);
    const options = { shape, axis } as const;
    const before = x.slice();
    const expected = softmax(x, { ...options, device: 'cpu' });
    expectSameBits(softmax(x, { ...options, device: 'cuda' }), expected, 'ordinary memory');
    expectSameBits(x, before, 'x');
    const maxima = rowMax(x, { ...options, device: 'cpu' });
    const actual = rowMax(x, { ...options, device: 'cuda' });
    expectSameBits(actual.max, maxima.max, 'rowMax');
    expectSameIndices(actual.argmax, maxima.argmax, 'rowMax');

    const locked = pinned(x, format, 1);
    expect(softmax(locked, { ...options, out: locked, device: 'cuda' })).toBe(locked);
    expectSameBits(locked, expected, 'page-locked, in place');
  });

  it('several pieces of Jacobians', () => {
    const random = randomFrom(81);
    const one = Math.ceil(Math.sqrt(5.2 * megabyte));
    for (const [rows, k] of [
      [1, one],
      [Math.ceil((4.2 * megabyte) / 150 ** 2), 150],
    ] as const) {
      const x = manyRows(rows, k, random, format);
      const expected = softmaxJacobian(x, { shape: [rows, k], device: 'cpu' });
      const outs = {
        ordinary: format.array(expected.length),
        'page-locked': pinned(expected, format).fill(42),
      };
      for (const [memory, out] of Object.entries(outs)) {
        if (rows > 1 && memory === 'ordinary') continue;
        softmaxJacobian(x, { shape: [rows, k], out, device: 'cuda' });
        expectSameBits(out, expected, `${rows} x ${k}, ${memory}`);
      }
    }
  });

  it('either of two arrays page-locked, a part of one, and memory that is shared', () => {
    const random = randomFrom(82);
    for (const [rows, k] of [
      [3, 7],
      [20, 1000],
    ] as const) {
      const x = manyRows(rows, k, random, format);
      const shape = [rows, k];
      const expected = softmax(x, { shape, device: 'cpu' });
      const shared = (length: number): FloatArray => {
        const memory = new SharedArrayBuffer(length * x.BYTES_PER_ELEMENT);
        return format.name === 'float32' ? new Float32Array(memory) : new Float64Array(memory);
      };
      const inputs = [x, pinned(x, format), pinned(x, format, 3), shared(x.length)];
      inputs[3]!.set(x);
      for (const [i, input] of inputs.entries()) {
        const outs = [
          format.array(x.length + 5),
          allocPinned(format.name, x.length),
          allocPinned(format.name, x.length + 9).subarray(1),
          shared(x.length),
        ];
        for (const [j, out] of outs.entries()) {
          out.fill(42);
          softmax(input, { shape, out, device: 'cuda' });
          expectSameBits(out.slice(0, x.length), expected, `from ${i} to ${j}`);
          expect(out.slice(x.length).every((value) => value === 42)).toBe(true);
        }
        const max = allocPinned(format.name, rows);
        const actual = rowMax(input, { shape, out: { max }, device: 'cuda' });
        const maxima = rowMax(x, { shape, device: 'cpu' });
        expectSameBits(actual.max, maxima.max, `rowMax from ${i}`);
        expectSameIndices(actual.argmax, maxima.argmax, `rowMax from ${i}`);
      }
    }
  });

  it('what the CPU refuses is refused, and nothing is written', () => {
    const memory = format.array(40).map((_, i) => i);
    const x = memory.subarray(10, 16);
    const before = memory.slice();
    const device = 'cuda';
    const part = overlapping(/but received a part of/);
    expectRefusal(() => softmax(x, { out: memory.subarray(11, 17), device }), part);
    expectRefusal(() => softmaxJacobian(x.subarray(0, 2), { out: x, device }), part);
    expectRefusal(() => rowMax(x, { out: { max: memory.subarray(15, 16) }, device }), part);
    const argmax = new Int32Array(memory.buffer, x.byteOffset, 1);
    expectRefusal(() => rowMax(x, { out: { argmax }, device }), part);
    expectRefusal(() => softmax(x, { out: memory.subarray(0, 5), device }), shapeMismatch(/for out/));
    expectSameBits(memory, before, 'memory');
  });
});

describe.skipIf(noGpu)('page-locked memory', () => {
  it('is an ordinary array of zeros', () => {
    const array = allocPinned('float64', 1000);
    expect(array).toEqual(new Float64Array(1000));
    expect(array.buffer.byteLength).toBe(8000);
    expect(allocPinned('float32', 0)).toEqual(new Float32Array(0));
  });

  it('stays with its buffer and its thread', () => {
    const array = allocPinned('float32', 4).fill(7);
    const { buffer } = array;
    const refusal = wrongType(
      'Expected a buffer that can be transferred for this but received one of page-locked memory, of allocPinned',
    );
    for (const method of ['transfer', 'transferToFixedLength']) {
      expectRefusal(() => (buffer as unknown as Record<string, () => unknown>)[method]!(), refusal);
    }
    try {
      structuredClone(buffer, { transfer: [buffer] }); // Node.js 20 copies it
    } catch (error) {
      expect(error).toMatchObject({ name: 'DataCloneError' });
    }
    expect([...array]).toEqual([7, 7, 7, 7]);
    expect(Object.keys(buffer)).toEqual([]);
    expect(structuredClone(array)).toEqual(array);
  });

  it.skipIf(emulator === undefined)('is freed with its array', async () => {
    // What calls on arrays of the host keep for themselves is made, and what other tests have left is gone.
    softmax(new Float32Array(1000), { device: 'cuda' });
    await collectGarbage();
    const now = (): number => emulator!.live().pinned.count;
    const before = now();
    (() => {
      for (let i = 0; i < 5; i++) softmax(allocPinned('float32', 1000), { device: 'cuda' });
    })();
    expect(now()).toBeGreaterThan(before);
    await collectGarbage(() => now() <= before);
    expect(now()).toBeLessThanOrEqual(before);
  });
});
