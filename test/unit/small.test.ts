// Calls on a few elements, which lib/cpu.ts copies to and from a buffer: the bits and errors are those of the calls that
// read and write arrays where they are.
import vm from 'node:vm';
import { describe, expect, it } from 'vitest';
import { few, fewRows } from '../../lib/cpu.ts';
import { native, type FloatArray } from '../../lib/binding.ts';
import { rowMax, softmax, softmaxJacobian, type RowMax } from '../../lib/index.ts';
import { expectSameBits, isCanonicalNaN } from '../support/bits.ts';
import { randomFrom } from '../support/random.ts';
import { expectRefusal, outOfRange, overlapping, product } from './support.ts';

type AnyArray = FloatArray | Int32Array;
type ArrayType = typeof Float32Array | typeof Float64Array | typeof Int32Array;

/** Up to more elements than are copied, in rows of any length. */
const most = Math.max(...Object.values(few)) + 1;
const sizes = Array.from({ length: most + 1 }, (_, size) => size);
const shapes = [
  ...sizes.map((k) => [k]),
  ...[0, 1, 2, 3, 8, 16, 17, most].flatMap((rows) =>
    sizes.filter((k) => rows * k <= most).map((k) => [rows, k]),
  ),
  [2, 3, 5],
  [3, 2, 4, 2],
];

/** Logits, some of them special. */
const random = randomFrom(20_261_126);
const specials = [NaN, Infinity, -Infinity, 0, -0, 1e-310, 1e-40, 1e30, -1e30, 88, -87, -88, 700, -745];
const values = Array.from({ length: 4096 }, () =>
  random.below(50) === 0 ? specials[random.below(specials.length)]! : 10 * random.gaussian(),
);

interface Call {
  x: Float32Array;
  /** What x holds. */
  numbers: number[];
  shape: number[];
  axis: number;
  outer: number;
  k: number;
  inner: number;
  context: string;
}

/** Calls `check` for every shape and axis, with logits in an array that `holding` makes. */
function forEachLayout(holding: (numbers: number[]) => Float32Array, check: (call: Call) => void): void {
  for (const shape of shapes) {
    for (const [axis, k] of shape.entries()) {
      const start = random.below(values.length - most);
      const numbers = values.slice(start, start + product(shape));
      const [outer, inner] = [product(shape.slice(0, axis)), product(shape.slice(axis + 1))];
      const context = `[${shape.join()}] along ${axis}`;
      check({ x: holding(numbers), numbers, shape, axis, outer, k, inner, context });
    }
  }
}

const realm = vm.createContext({});

function shared({ BYTES_PER_ELEMENT: bytes, name }: ArrayType, length: number): AnyArray {
  const memory = new SharedArrayBuffer((length + 1) * bytes);
  if (name === 'Int32Array') return new Int32Array(memory, bytes, length);
  return name === 'Float32Array'
    ? new Float32Array(memory, bytes, length)
    : new Float64Array(memory, bytes, length);
}

/** Arrays of `length` elements, or a few more, in memory of each kind. */
const memories: Record<string, (type: ArrayType, length: number) => AnyArray> = {
  'their own memory': (type, length) => new type(length),
  'the middle of a buffer, with room for more': (type, length) =>
    new type(length + 5).subarray(3, length + 4),
  'shared memory': shared,
  'another realm': (type, length) => new (vm.runInContext(type.name, realm) as ArrayType)(length),
};

const filler = 123;

/** The first `count` elements of an array whose others were not written. */
function written<A extends AnyArray>(array: A, count: number): A {
  if (array.subarray(count).some((value) => value !== filler)) throw new Error('wrote past the result');
  return array.subarray(0, count) as A;
}

// One constructor for the compiler, as all that differs is the elements.
const types = [Float32Array, Float64Array as unknown as typeof Float32Array];

describe.each(types)('a few elements of %o', (type) => {
  describe.each(Object.entries(memories))('in %s', (_name, make) => {
    const filled = <A extends AnyArray>(count: number, elements: new (length: number) => A): A =>
      make(elements as unknown as ArrayType, count).fill(filler) as A;
    const holding = (numbers: number[]): Float32Array => {
      const x = make(type, numbers.length).subarray(0, numbers.length) as Float32Array;
      x.set(numbers);
      return x;
    };

    it('give softmax the bits of a call that copies nothing', () => {
      forEachLayout(holding, ({ x, numbers, shape, axis, outer, k, inner, context }) => {
        const count = x.length;
        const expected = new type(count + 1).subarray(1);
        native().softmax(type.from(numbers), expected, outer, k, inner, 1);
        expectSameBits(softmax(x, { shape, axis }), expected, context);
        const out = filled(count, type);
        expect(softmax(x, { shape, axis, out })).toBe(out);
        expectSameBits(written(out, count), expected, `${context} with out`);
        softmax(x, { shape, axis, out: x });
        expectSameBits(x, expected, `${context} in place`);
      });
    });

    it('give rowMax the bits of a call that copies nothing', () => {
      forEachLayout(holding, ({ x, numbers, shape, axis, outer, k, inner, context }) => {
        const rows = outer * inner;
        const max = new type(rows + 1).subarray(1);
        const argmax = new Int32Array(rows);
        native().rowMax(type.from(numbers), max, argmax, outer, k, inner, 1);
        const check = (result: RowMax, what: string): void => {
          expectSameBits(written(result.max, rows), max, `${context}: max of ${what}`);
          const difference = written(result.argmax, rows).findIndex((index, row) => index !== argmax[row]);
          if (difference >= 0) throw new Error(`${context}: argmax[${difference}] of ${what}`);
        };
        check(rowMax(x, { shape, axis }), 'a new result');
        const out = { max: filled(rows, type), argmax: filled(rows, Int32Array) };
        check(rowMax(x, { shape, axis, out }), 'out');
        check(rowMax(x, { shape, axis, out: { argmax: out.argmax } }), 'out with argmax only');
        expectSameBits(x, type.from(numbers), `${context}: x`);
      });
    });

    it('give softmaxJacobian the bits of a call that copies nothing', () => {
      forEachLayout(holding, ({ x, numbers, shape, axis, outer, k, inner, context }) => {
        if (inner !== 1 || axis !== shape.length - 1) return;
        const entries = outer * k * k;
        const expected = new type(entries + 1).subarray(1);
        native().softmaxJacobian(type.from(numbers), expected, outer, k, 1);
        expectSameBits(softmaxJacobian(x, { shape }), expected, context);
        const out = filled(entries, type);
        expect(softmaxJacobian(x, { shape, out })).toBe(out);
        expectSameBits(written(out, entries), expected, `${context} with out`);
        expectSameBits(x, type.from(numbers), `${context}: x`);
      });
    });
  });

  it('that are NaN, whatever their bits, give the one NaN of all results', () => {
    const x = new type(3);
    new Uint8Array(x.buffer).fill(0xff);
    for (const result of [softmax(x), rowMax(x).max, softmaxJacobian(x), softmax(x, { out: x })]) {
      for (let i = 0; i < result.length; i++) expect(isCanonicalNaN(result, i)).toBe(true);
    }
  });

  it('are rows of any length where maxima and indices are new, few and many', () => {
    for (const rows of [1, fewRows, fewRows + 1]) {
      for (const k of [0, 1, 100]) {
        const x = type.from({ length: rows * k }, () => random.gaussian());
        const max = new type(rows);
        const argmax = new Int32Array(rows);
        native().rowMax(x, max, argmax, rows, k, 1, 1);
        const result = rowMax(x, { shape: [rows, k] });
        expectSameBits(result.max, max, `${rows} x ${k}`);
        expect(result.argmax).toEqual(argmax);
      }
    }
  });

  it('are refused where a result would be written over them', () => {
    const x = type.from([1, 2, 3, 4]);
    const inX = new Int32Array(x.buffer);
    const spare = new type(4);
    const indices = new Int32Array(4);
    const calls = [
      () => softmax(x.subarray(0, 3), { out: x.subarray(1) }),
      () => rowMax(x, { out: { max: x } }),
      () => rowMax(x, { out: { argmax: inX } }),
      () => rowMax(x, { out: { max: x.subarray(3), argmax: indices } }),
      () => rowMax(x, { out: { max: spare, argmax: new Int32Array(spare.buffer) } }),
      () => softmaxJacobian(x.subarray(0, 2), { out: x }),
    ];
    for (const call of calls) expectRefusal(call, overlapping(/memory|part of it/));
    expect([...x]).toEqual([1, 2, 3, 4]);
    expect([...spare, ...indices]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('beside each other in one buffer are no obstacle', () => {
    const memory = new type(12);
    const x = memory.subarray(0, 4);
    x.set([1, 3, 2, 0]);
    const expected = softmax(x);
    expect([...softmax(x, { out: memory.subarray(4, 8) })]).toEqual([...expected]);
    expect(rowMax(x, { out: { max: memory.subarray(4, 5) } })).toMatchObject({
      max: type.of(3),
      argmax: Int32Array.of(1),
    });
  });
});

describe('the native functions for a few elements', () => {
  const { sizes: room, logits32, logits64, results32, results64, indices, ...functions } = native().small;

  it.each(Object.entries(functions))('refuse sizes that have no room: %s', (_name, call) => {
    const wrong = [
      [-1, 1, 1, 0],
      [1, -1, 1, 0],
      [1, 1, -1, 0],
      [1, logits32.length + 1, 1, 0],
      [1, logits64.length + 1, 1, 1],
      [logits32.length, 2, 1, 0],
      [2, 1, logits32.length, 0],
      [indices.length, 0, 2, 0],
      [2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1, 1],
    ];
    for (const outerKInner of wrong) {
      room.set(outerKInner);
      expectRefusal(() => call(), outOfRange(/^Expected sizes of a few elements for a small call/));
    }
  });

  it('refuse Jacobians that have no room', () => {
    for (const [is64, results] of [results32, results64].entries()) {
      room.set([1, Math.ceil(Math.sqrt(results.length + 1)), 1, is64]);
      expectRefusal(() => functions.softmaxJacobian(), outOfRange(/for a small call/));
    }
  });

  it('have room for what lib/cpu.ts gives them', () => {
    expect(logits64.length).toBeGreaterThanOrEqual(Math.max(...Object.values(few)));
    expect(results64.length).toBeGreaterThanOrEqual(few.softmaxJacobian);
    expect(indices.length).toBeGreaterThanOrEqual(few.rowMax);
  });
});
