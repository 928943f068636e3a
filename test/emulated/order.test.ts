// Results do not depend on what CUDA leaves open: in which order blocks, threads and streams run.
import { afterAll, expect, it } from 'vitest';
import { emulator, libraryOn } from './machine.ts';

const seeds = Array.from({ length: 12 }, (_, i) => i + 1);

/** Pieces of at least 1 MB, of which three are on the device at a time. */
const rows = 600;
const k = 1100;
const x = Float32Array.from({ length: rows * k }, (_, i) => (i * 7919) % 17);
const bytes = (array: Float32Array | Int32Array): Buffer => Buffer.from(array.buffer);

afterAll(async () => {
  await libraryOn();
});

it.each(seeds)('arrays of the host, in pieces, with seed %i', async (seed) => {
  const { allocPinned, rowMax, softmax } = await libraryOn({ seed });
  const shape = [rows, k];
  const expected = rowMax(x, { shape, device: 'cpu' });
  const { max, argmax } = rowMax(x, { shape, device: 'cuda' });
  expect(bytes(max).equals(bytes(expected.max))).toBe(true);
  expect(bytes(argmax).equals(bytes(expected.argmax))).toBe(true);
  if (seed > 3) return;

  const probabilities = bytes(softmax(x, { shape, device: 'cpu' }));
  const pinned = allocPinned('float32', x.length);
  pinned.set(x);
  expect(bytes(softmax(x, { shape, device: 'cuda' })).equals(probabilities)).toBe(true);
  const inPlace = softmax(pinned, { shape, out: pinned, device: 'cuda' });
  expect(Buffer.from(inPlace.buffer, inPlace.byteOffset, inPlace.byteLength).equals(probabilities)).toBe(
    true,
  );
});

it.each(seeds)('tensors, downloaded while they are written and disposed of, with seed %i', async (seed) => {
  const { cudaDevice, softmax } = await libraryOn({ seed });
  const device = cudaDevice();
  const shape = [40, 250];
  const few = x.subarray(0, 10_000);
  const tensor = device.tensor(few, { shape });
  const states: Promise<Float32Array>[] = [];
  const expected: Float32Array[] = [];
  let state: Float32Array = few.slice();
  for (let step = 0; step < 5; step++) {
    states.push(tensor.data());
    expected.push(state);
    softmax(tensor, { out: tensor });
    state = softmax(state, { shape, device: 'cpu' });
  }
  states.push(tensor.data());
  expected.push(state);
  tensor.dispose();
  const got = await Promise.all(states);
  for (const [step, array] of got.entries()) {
    expect(bytes(array).equals(bytes(expected[step]!)), `after ${step} steps`).toBe(true);
  }
  await device.synchronize();
  expect(emulator.live().device.count).toBe(0);
});

it.each(seeds.slice(0, 3))('tensors and page-locked memory, with seed %i', async (seed) => {
  const { allocPinned, cudaDevice } = await libraryOn({ seed });
  // More than the pieces hold that other arrays go through.
  const values = new Float32Array(2_100_000).map((_, i) => i);
  const pinned = allocPinned('float32', values.length);
  pinned.set(values);
  const tensor = cudaDevice().tensor(pinned);
  pinned.fill(-1);
  tensor.dataSync(pinned);
  expect(Buffer.from(pinned.buffer).equals(bytes(values))).toBe(true);
  tensor.dispose();
});

it.each(seeds)('an upload on its way, while another call fails, with seed %i', async (seed) => {
  const { cudaDevice, softmax } = await libraryOn({ seed });
  const device = cudaDevice();
  const ones = new Float32Array(1000).fill(1);
  const busy = device.tensor(new Float32Array(100_000).fill(3), { shape: [100, 1000] });
  for (let i = 0; i < 5; i++) softmax(busy, { out: busy });
  const tensor = device.tensor(ones);
  // The call fails before it has moved anything; what it leaves behind must not be the piece that the upload reads.
  emulator.inject({ call: 'cudaHostAlloc', nth: 1, error: 2 });
  expect(() => softmax(new Float32Array(1000), { device: 'cuda' })).toThrow('cudaErrorMemoryAllocation');
  for (let i = 0; i < 4; i++) device.tensor(new Float32Array(1000).fill(2));
  expect(tensor.dataSync()).toEqual(ones);
});
