// The native functions themselves: what memory's safety rests on is checked again below lib/.
import { describe, expect, it } from 'vitest';
import { native, type FloatArray } from '../../lib/binding.ts';
import { expectRefusal, outOfRange, overlapping, shapeMismatch, wrongType, type Refusal } from './support.ts';

const library = native() as unknown as Record<
  'softmax' | 'rowMax' | 'softmaxJacobian',
  (...values: unknown[]) => unknown
>;

const x = Float32Array.of(1, 2, 3, 4, 5, 6);
const out = new Float32Array(6).fill(7);
const indices = new Int32Array(6).fill(7);

function expectNothingWritten(): void {
  expect([...x]).toEqual([1, 2, 3, 4, 5, 6]);
  expect(out.every((value) => value === 7)).toBe(true);
  expect(indices.every((value) => value === 7)).toBe(true);
}

const notFloats = [
  undefined,
  null,
  3,
  'x',
  [1, 2],
  {},
  new DataView(new ArrayBuffer(8)),
  Int32Array.of(1),
  new Proxy(x, {}),
  // Of Node.js 24 and later, for some of which it is a typed array of no type.
  ...('Float16Array' in globalThis
    ? [new (globalThis as unknown as Record<'Float16Array', typeof Float32Array>).Float16Array(8)]
    : []),
];
const notSizes = [undefined, null, '1', -1, -0.5 - 1, 1n];

describe('the native softmax', () => {
  const call = (...values: unknown[]): unknown => library.softmax(...values);

  it('takes positional primitives and returns nothing', () => {
    const result = new Float32Array(6);
    expect(call(x, result, 1, 2, 3, 1)).toBeUndefined();
    expect(result[0]! + result[3]!).toBeCloseTo(1, 6);
    expect(call(new Float32Array(0), new Float32Array(0), 0, 0, 0, 1)).toBeUndefined();
  });

  it.each([true, false, undefined, null, 1, 'yes', {}])('gives the same whether out is new: %s', (isNew) => {
    const [result, usual] = [new Float32Array(6), new Float32Array(6)];
    call(x, usual, 1, 2, 3, 1);
    call(x, result, 1, 2, 3, 1, isNew);
    expect(result[0]! + result[3]!).toBeCloseTo(1, 6);
    expect([...result]).toEqual([...usual]);
  });

  it.each<[string, unknown[], Refusal]>([
    ['no arguments', [], wrongType(/for x /)],
    ...notFloats.map((value): [string, unknown[], Refusal] => [
      'another x',
      [value, out, 1, 1, 1, 1],
      wrongType(/for x /),
    ]),
    ...notFloats.map((value): [string, unknown[], Refusal] => [
      'another out',
      [x, value, 1, 1, 1, 1],
      wrongType(/for out /),
    ]),
    ['float64 for float32', [x, new Float64Array(6), 1, 6, 1, 1], wrongType(/for out /)],
    ['float32 for float64', [new Float64Array(6), out, 1, 6, 1, 1], wrongType(/for out /)],
    ...notSizes.flatMap((size): [string, unknown[], Refusal][] => [
      ['another size', [x, out, size, 1, 1, 1], outOfRange(/for the sizes /)],
      ['another size', [x, out, 1, size, 1, 1], outOfRange(/for the sizes /)],
      ['another size', [x, out, 1, 1, size, 1], outOfRange(/for the sizes /)],
    ]),
    ...[undefined, 0, -1, '1', NaN].map((threads): [string, unknown[], Refusal] => [
      'other threads',
      [x, out, 1, 6, 1, threads],
      outOfRange(/for threads /),
    ]),
    ['sizes past x', [x, new Float32Array(99), 1, 7, 1, 1], shapeMismatch(/for x /)],
    ['sizes past out', [new Float32Array(99), out, 1, 7, 1, 1], shapeMismatch(/for out /)],
    ['a product past 2**63', [x, out, 2 ** 62, 2, 1, 1], outOfRange(/2\*\*63/)],
    ['a product past 2**63', [x, out, 2 ** 32, 2 ** 32, 1, 1], outOfRange(/2\*\*63/)],
    ['a product past 2**63', [x, out, 1, 2 ** 32, 2 ** 32, 1], outOfRange(/2\*\*63/)],
    ['overlapping arrays', [x, x.subarray(1), 1, 5, 1, 1], overlapping(/for out /)],
  ])('refuses %s', (_name, values, refusal) => {
    expectRefusal(() => call(...values), refusal);
    expectNothingWritten();
  });
});

describe('the native rowMax', () => {
  const call = (...values: unknown[]): unknown => library.rowMax(...values);

  it('can do without argmax', () => {
    for (const none of [undefined, null]) {
      const max = new Float32Array(2);
      expect(call(x, max, none, 2, 3, 1, 1)).toBeUndefined();
      expect([...max]).toEqual([3, 6]);
    }
  });

  it.each<[string, unknown[], Refusal]>([
    ...notFloats.map((value): [string, unknown[], Refusal] => [
      'another x',
      [value, out, indices, 1, 1, 1, 1],
      wrongType(/for x /),
    ]),
    ...notFloats.map((value): [string, unknown[], Refusal] => [
      'another max',
      [x, value, indices, 1, 1, 1, 1],
      wrongType(/for out.max /),
    ]),
    ['floats for argmax', [x, out, new Float32Array(6), 1, 6, 1, 1], wrongType(/for out.argmax /)],
    ['unsigned argmax', [x, out, new Uint32Array(6), 1, 6, 1, 1], wrongType(/for out.argmax /)],
    ['a number for argmax', [x, out, 0, 1, 6, 1, 1], wrongType(/for out.argmax /)],
    ['another size', [x, out, indices, 1, -6, 1, 1], outOfRange(/for the sizes /)],
    ['other threads', [x, out, indices, 1, 6, 1, 0], outOfRange(/for threads /)],
    ['rows past 32-bit indices', [x, out, indices, 0, 2 ** 31, 1, 1], outOfRange(/2\*\*31/)],
    ['sizes past x', [x, out, indices, 1, 7, 1, 1], shapeMismatch(/for x /)],
    ['rows past max', [x, new Float32Array(2), indices, 3, 2, 1, 1], shapeMismatch(/for out.max /)],
    ['rows past argmax', [x, out, new Int32Array(2), 3, 2, 1, 1], shapeMismatch(/for out.argmax /)],
    ['rows past max without elements', [x, out, indices, 7, 0, 1, 1], shapeMismatch(/for out.max /)],
    ['max in x', [x, x.subarray(5), indices, 1, 6, 1, 1], overlapping(/for out.max /)],
    ['argmax in x', [x, out, new Int32Array(x.buffer, 20), 1, 6, 1, 1], overlapping(/for out.argmax /)],
    ['argmax in max', [x, out, new Int32Array(out.buffer), 1, 6, 1, 1], overlapping(/for out.argmax /)],
  ])('refuses %s', (_name, values, refusal) => {
    expectRefusal(() => call(...values), refusal);
    expectNothingWritten();
  });
});

describe('the native softmaxJacobian', () => {
  const call = (...values: unknown[]): unknown => library.softmaxJacobian(...values);
  const large = new Float32Array(36).fill(7);

  it.each<[string, unknown[], Refusal]>([
    ...notFloats.map((value): [string, unknown[], Refusal] => [
      'another x',
      [value, large, 1, 1, 1],
      wrongType(/for x /),
    ]),
    ...notFloats.map((value): [string, unknown[], Refusal] => [
      'another out',
      [x, value, 1, 1, 1],
      wrongType(/for out /),
    ]),
    ['another size', [x, large, -1, 6, 1], outOfRange(/for the sizes /)],
    ['other threads', [x, large, 1, 6, 0], outOfRange(/for threads /)],
    ['sizes past x', [x, large, 2, 4, 1], shapeMismatch(/for x /)],
    ['entries past out', [x, large.subarray(1), 1, 6, 1], shapeMismatch(/for out /)],
    ['entries past 2**63', [x, large, 1, 2 ** 32, 1], outOfRange(/2\*\*63/)],
    ['overlapping arrays', [large.subarray(0, 6), large, 1, 6, 1], overlapping(/for out /)],
  ])('refuses %s', (_name, values, refusal) => {
    expectRefusal(() => call(...values), refusal);
    expectNothingWritten();
    expect(large.every((value) => value === 7)).toBe(true);
  });
});

it('the native prepareResult changes no element, and takes anything', () => {
  const prepare = native().prepareResult as (value?: unknown) => unknown;
  const large = new Float32Array(2 ** 21).fill(7);
  for (const value of [large, large.subarray(1, 2 ** 20), x, new Float32Array(0), ...notFloats]) {
    expect(prepare(value)).toBeUndefined();
  }
  expect(prepare()).toBeUndefined();
  expect(large.every((element) => element === 7)).toBe(true);
});

describe.runIf(!native().cuda.info().built)('the native functions for GPUs, in a build without CUDA,', () => {
  const cuda = native().cuda as unknown as Record<string, (...values: unknown[]) => unknown>;

  it('say so', () => {
    expect(cuda['info']!()).toMatchObject({ built: false, devices: [] });
    expect(cuda['isStarted']!(0)).toBe(false);
    const floats = new Float32Array(1);
    const calls: [string, ...unknown[]][] = [
      ['start', 0],
      ['costs', 0],
      ['allocate', 0, 8],
      ['allocatePinned', 0, 8],
      ['fromPointer', 0, 8n, 8],
      ['softmax', 0, floats, floats, 1, 1, 1],
      ['rowMax', 0, floats, new Float32Array(1), undefined, 1, 1, 1],
      ['softmaxJacobian', 0, floats, new Float32Array(1), 1, 1],
    ];
    for (const [name, ...values] of calls) {
      expect(() => cuda[name]!(...values)).toThrow(
        expect.objectContaining({ code: 'ERR_CUDA_UNAVAILABLE' }) as Error,
      );
    }
  });
});

it('the types of the native functions are those of the binding', () => {
  const { softmax, rowMax, softmaxJacobian, cpuInfo } = native();
  const floats: FloatArray = new Float64Array(1);
  softmax(floats, floats, 1, 1, 1, 1);
  expect(floats[0]).toBe(1);
  rowMax(Float64Array.of(5), floats, undefined, 1, 1, 1, 1);
  expect(floats[0]).toBe(5);
  softmaxJacobian(Float64Array.of(5), floats, 1, 1, 1);
  expect(floats[0]).toBe(0);
  const { isa, available, passiveWait } = cpuInfo();
  expect(available).toContain(isa);
  expect(passiveWait).toBeTypeOf('boolean');
});
