// Kernels whose code is of an earlier generation than the GPU: from PTX that the driver compiled, as on a GPU that came
// after the build, or code that later GPUs run as it is. They are launched with what their code has, and give the same
// bits.
import { afterAll, expect, it } from 'vitest';
import { mixedRows } from '../cuda/support.ts';
import { randomFrom } from '../support/random.ts';
import { FORMATS, type FloatArray } from '../support/ulp.ts';
import { emulator, libraryOn, type Library } from './machine.ts';

/**
 * Shapes of (rows, k); the long rows are worked on in clusters by a GPU of few multiprocessors that has them. The single
 * row would be split by a GPU of 8.6 that was taken for one of 8.0.
 */
const shapes = [
  [5, 9000],
  [1, 16_500],
  [3, 20_001],
  [50, 40],
] as const;
const multiprocessors = 2;

/** What the library computes from random rows of either format, on the GPU and on the CPU. */
function results({ rowMax, softmax, softmaxJacobian }: Library): { cuda: Buffer[]; cpu: Buffer[] } {
  const random = randomFrom(75);
  const bytes = (array: FloatArray | Int32Array): Buffer =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  const cases = FORMATS.flatMap((format) =>
    shapes.map(([rows, k]) => ({ shape: [rows, k], x: mixedRows(rows, k, random, format) })),
  );
  const on = (device: 'cuda' | 'cpu'): Buffer[] =>
    cases.flatMap(({ shape, x }) => {
      const { max, argmax } = rowMax(x, { shape, device });
      const jacobian = shape[1]! > 100 ? [] : [softmaxJacobian(x, { shape, device })];
      return [softmax(x, { shape, device }), max, argmax, ...jacobian].map((array) => bytes(array));
    });
  return { cuda: on('cuda'), cpu: on('cpu') };
}

function expectSame(actual: Buffer[], expected: Buffer[]): void {
  expect(actual.length).toBe(expected.length);
  for (const [i, bytes] of actual.entries()) expect(bytes.equals(expected[i]!), `result ${i}`).toBe(true);
}

afterAll(async () => {
  await libraryOn();
});

it('an H100 whose kernels come from PTX of 7.5', async () => {
  const library = await libraryOn({ device: 'sm_90', multiprocessors, ptx: 75 });
  const { cuda, cpu } = results(library);
  expectSame(cuda, cpu);
  const launched = emulator.launches();
  expect(library.deviceInfo().cuda).toMatchObject({
    available: true,
    devices: [{ device: 'cuda:0', computeCapability: '9.0' }],
  });
  // Launches of such code in clusters would be among them.
  expect(emulator.findings()).toEqual([]);

  // The GPU's own code computes the same in other kernels.
  expectSame(results(await libraryOn({ device: 'sm_90', multiprocessors })).cuda, cpu);
  expect(emulator.launches()).not.toEqual(launched);
});

it.each([
  ['an RTX 5090 whose kernels come from PTX of 9.0', { device: 'sm_120', ptx: 90 }],
  ['an A10 that runs the code of 8.0', { device: 'sm_86', ptx: 80 }],
] as const)('%s: launches are those of its own code', async (_, { device, ptx }) => {
  const { cuda, cpu } = results(await libraryOn({ device, multiprocessors, ptx }));
  expectSame(cuda, cpu);
  const launched = emulator.launches();
  expect(emulator.findings()).toEqual([]);
  expectSame(results(await libraryOn({ device, multiprocessors })).cuda, cpu);
  expect(emulator.launches()).toEqual(launched);
});
