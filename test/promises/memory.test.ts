// The memory rule: a program may write to, hand over, shrink, drop or detach the arrays of a call in the background. The
// results are those of x at the time of the call, or the promise is rejected with a clear error, and nothing crashes.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import * as sync from '../../lib/index.ts';
import * as promises from '../../lib/promises.ts';
import { expectSameBits } from '../support/bits.ts';
import { detached, overlapping, shapeMismatch, wrongType } from '../unit/support.ts';
import { detach, expectRejection, logits, resizable, shared } from './support.ts';

// Newer than the compiler's library.
const { Memory } = (
  globalThis as unknown as {
    WebAssembly: { Memory: new (pages: { initial: number }) => { buffer: ArrayBuffer } };
  }
).WebAssembly;

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Enough work for what the program does meanwhile to be meanwhile. */
const [rows, k] = [4000, 1000];
const shape = [rows, k];
const source = logits('float32', rows * k);
const expected = sync.softmax(source, { shape });

describe('x, while it is in use,', () => {
  it.each([
    ['written to', (x: Float32Array) => x.fill(NaN)],
    ['detached, and its memory collected', (x: Float32Array) => (detach(x), gc())],
    ['shrunk', (x: Float32Array) => (x.buffer as unknown as { resize(bytes: number): void }).resize(4)],
    ['dropped', () => gc()],
  ])('may be %s', async (_name, change) => {
    const x = new Float32Array(resizable(source.byteLength));
    x.set(source);
    const result = promises.softmax(x, { shape });
    const max = promises.rowMax(x, { shape });
    change(x);
    expectSameBits(await result, expected, 'softmax');
    expect((await max).argmax).toEqual(sync.rowMax(source, { shape }).argmax);
  });

  it('has options that may change', async () => {
    const options = { shape: [rows, k], axis: 1, threads: 2 };
    const result = promises.softmax(source, options);
    options.shape[0] = 1;
    options.axis = 0;
    expectSameBits(await result, expected, 'softmax');
  });
});

describe('out, while it is in use,', () => {
  it('may be detached, which rejects', async () => {
    const out = new Float32Array(rows * k);
    const result = promises.softmax(source, { shape, out });
    detach(out);
    gc();
    await expectRejection(result, detached(/for out/));
  });

  it('may shrink, which rejects and writes nothing', async () => {
    const memory = resizable(source.byteLength);
    const out = new Float32Array(memory).fill(7);
    const result = promises.softmax(source, { shape, out });
    memory.resize(400);
    await expectRejection(result, shapeMismatch(/for out but received one of 100/));
    expect(out.every((value) => value === 7)).toBe(true);
  });

  it('may be written to, which the result replaces', async () => {
    const out = new Float32Array(rows * k);
    const result = promises.softmax(source, { shape, out });
    out.fill(7);
    await result;
    expectSameBits(out, expected, 'softmax');
  });

  it('of two arrays: neither is written where one is gone', async () => {
    const out = { max: new Float32Array(rows).fill(7), argmax: new Int32Array(rows) };
    const result = promises.rowMax(source, { shape, out });
    detach(out.argmax);
    await expectRejection(result, detached(/for out.argmax/));
    expect(out.max.every((value) => value === 7)).toBe(true);
  });

  it('is not needed by anybody where the result is dropped', async () => {
    for (let i = 0; i < 3; i++) void promises.softmax(source, { shape });
    gc();
    expectSameBits(await promises.softmax(source, { shape }), expected, 'softmax');
  });
});

describe('transfer', () => {
  it('detaches x at once and computes in its memory', async () => {
    const buffer = new ArrayBuffer(source.byteLength + 16);
    const x = new Float32Array(buffer, 8, rows * k);
    x.set(source);
    const result = promises.softmax(x, { shape, transfer: true });
    expect(x).toHaveLength(0);
    expect(buffer.byteLength).toBe(0);
    const probabilities = await result;
    expectSameBits(probabilities.slice(), expected, 'softmax');
    expect(probabilities.buffer.byteLength).toBe(source.byteLength + 16);
    expect(probabilities.byteOffset).toBe(8);
  });

  it('of few elements does so too', async () => {
    const x = Float32Array.of(0, 0);
    const result = promises.softmax(x, { transfer: true });
    expect(x).toHaveLength(0);
    expect(await result).toEqual(Float32Array.of(0.5, 0.5));
  });

  it('leaves shared memory and plain numbers', async () => {
    const x = shared(source);
    expectSameBits(await promises.softmax(x, { shape, transfer: true }), expected, 'shared');
    expectSameBits(x.slice(), source, 'x');
    const numbers = [0, 0];
    expect(await promises.softmax(numbers, { transfer: true })).toEqual([0.5, 0.5]);
    expect(numbers).toEqual([0, 0]);
  });

  it('goes with an out of another buffer', async () => {
    const out = new Float32Array(rows * k);
    expect(await promises.softmax(source.slice(), { shape, out, transfer: true })).toBe(out);
    expectSameBits(out, expected, 'softmax');
    const jacobian = await promises.softmaxJacobian(source.slice(0, 300), { transfer: true });
    expectSameBits(jacobian, sync.softmaxJacobian(source.slice(0, 300)), 'softmaxJacobian');
    expect((await promises.rowMax(source.slice(), { shape, transfer: true })).argmax).toHaveLength(rows);
  });

  it('is refused where out is a part of the buffer, and where the buffer cannot go, and changes nothing', async () => {
    const x = source.slice();
    await expectRejection(promises.softmax(x, { out: x, transfer: true }), overlapping(/for out/));
    await expectRejection(
      promises.softmax(x, { shape, out: new Float32Array(3), transfer: true }),
      shapeMismatch(/for out/),
    );
    expect(x).toHaveLength(rows * k);
    // Node.js 20 copies what cannot go.
    const wasm = new Float32Array(new Memory({ initial: 1 }).buffer);
    const result = promises.softmax(wasm, { transfer: true });
    if (process.version.startsWith('v20.')) expect(await result).toEqual(sync.softmax(wasm));
    else await expectRejection(result, wrongType(/can be transferred for x/));
    expect(wasm).toHaveLength(16_384);
  });
});
