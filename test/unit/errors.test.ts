// What the functions refuse, with which error, and that nothing is written then.
import { describe, expect, it } from 'vitest';
import { rowMax, softmax, softmaxJacobian } from '../../lib/index.ts';
import {
  expectRefusal,
  outOfMemory,
  outOfRange,
  overlapping,
  shapeMismatch,
  unknownOption,
  wrongType,
  type Refusal,
} from './support.ts';

/** Each function with its results written to `out`, so that a test can see that they were not. */
const operations = [
  {
    name: 'softmax',
    call: (x: unknown, options?: object): unknown => softmax(x as Float32Array, options),
    withOut: (out: Float32Array): object => ({ out }),
  },
  {
    name: 'rowMax',
    call: (x: unknown, options?: object): unknown => rowMax(x as Float32Array, options),
    withOut: (max: Float32Array): object => ({ out: { max } }),
  },
  {
    name: 'softmaxJacobian',
    call: (x: unknown, options?: object): unknown => softmaxJacobian(x as Float32Array, options),
    withOut: (out: Float32Array): object => ({ out }),
  },
];

/** [6, <empty>, 1] */
const withHole = [6, 0, 1];
Reflect.deleteProperty(withHole, 1);

const accepted =
  /^Expected Float32Array, Float64Array, number\[\], number\[\]\[\], \{ data, shape \} or \{ data, dims \} for x /;

describe.each(operations)('$name', ({ call, withOut }) => {
  describe('refuses as x', () => {
    it.each<[string, unknown, Refusal]>([
      ['undefined', undefined, wrongType(/but received undefined$/)],
      ['null', null, wrongType(accepted)],
      ['a number', 3, wrongType(/but received 3$/)],
      ['a string', 'logits', wrongType(/but received 'logits'$/)],
      ['a bigint', 3n, wrongType(/but received 3n$/)],
      ['a symbol', Symbol('x'), wrongType(/but received Symbol\(x\)$/)],
      ['a function', Math.max, wrongType(/received \[Function: max\]$/)],
      ['Int32Array', Int32Array.of(1, 2), wrongType(/but received Int32Array\(2\)$/)],
      ['Uint8Array', new Uint8Array(2), wrongType(accepted)],
      ['a Buffer', Buffer.alloc(8), wrongType(/but received Uint8Array\(8\)$/)],
      ['BigInt64Array', new BigInt64Array(2), wrongType(accepted)],
      [
        'DataView',
        new DataView(new ArrayBuffer(8)),
        wrongType(
          /^Expected Float32Array, Float64Array, number\[\], .* or \{ data, dims \} for x but received DataView/,
        ),
      ],
      [
        'ArrayBuffer',
        new ArrayBuffer(8),
        wrongType(
          /^Expected Float32Array, Float64Array, number\[\], .* or \{ data, dims \} for x but received ArrayBuffer/,
        ),
      ],
      [
        'an object',
        { length: 3 },
        wrongType(
          /^Expected Float32Array, Float64Array, number\[\], .* or \{ data, dims \} for x but received \{ length: 3 \}/,
        ),
      ],
      [
        'a proxy of an array',
        new Proxy(Float32Array.of(1, 2), {}),
        wrongType(
          /^Expected Float32Array, Float64Array, number\[\], .* or \{ data, dims \} for x but received /,
        ),
      ],
      ['strings', ['1', '2'], wrongType("Expected a number for x[0] but received '1'")],
      ['a hole', withHole, wrongType('Expected a number for x[1] but received undefined')],
      ['rows after a number', [1, [2]], wrongType('Expected a number for x[1] but received [ 2 ]')],
      ['a number after rows', [[1], 2], wrongType('Expected an array of numbers for x[1] but received 2')],
      ['deeper arrays', [[[1]]], wrongType('Expected a number for x[0][0] but received [ 1 ]')],
      [
        'float arrays in an array',
        [Float32Array.of(1)],
        wrongType(/^Expected rows as plain arrays, .* for x\[0\] but/),
      ],
      [
        'ragged rows',
        [[1, 2], [3]],
        shapeMismatch('Expected rows of 2 numbers for x but received 1 in x[1]'),
      ],
      [
        'longer rows later',
        [[1], [3, 4]],
        shapeMismatch('Expected rows of 1 numbers for x but received 2 in x[1]'),
      ],
      [
        'data of plain numbers',
        { data: [1, 2], shape: [2] },
        wrongType(/for x.data but received \[ 1, 2 \]$/),
      ],
      [
        'data of integers',
        { data: Int32Array.of(1), shape: [1] },
        wrongType(/for x.data but received Int32Array\(1\)/),
      ],
      ['data without a shape', { data: Float32Array.of(1) }, wrongType(accepted)],
      [
        'a shape that is no array',
        { data: Float32Array.of(1), shape: 1 },
        wrongType(/^Expected an array of sizes for x.shape/),
      ],
      [
        'dims that are no array',
        { data: Float32Array.of(1), dims: '1' },
        wrongType(/^Expected an array of sizes for x.dims/),
      ],
      [
        'a shape of strings',
        { data: Float32Array.of(1), shape: ['1'] },
        wrongType(/for shape\[0\] but received '1'/),
      ],
      [
        'a shape of another length',
        { data: Float32Array.of(1, 2), shape: [3] },
        shapeMismatch(/^Expected sizes whose product is 2/),
      ],
      [
        'a transposed ndarray',
        { data: new Float32Array(6), shape: [2, 3], stride: [1, 2] },
        shapeMismatch(/for x.stride but received \[ 1, 2 \]/),
      ],
      [
        'other strides',
        { data: new Float32Array(6), shape: [2, 3], strides: [6, 2] },
        shapeMismatch(/^Expected row-major strides/),
      ],
      [
        'strides that are no array',
        { data: new Float32Array(6), shape: [6], strides: 1 },
        wrongType(/^Expected an array of strides/),
      ],
      [
        'an ndarray with an offset',
        { data: new Float32Array(6), shape: [6], offset: 1 },
        outOfRange('Expected 0 for x.offset but received 1'),
      ],
    ])('%s', (_name, x, refusal) => {
      expectRefusal(() => call(x), refusal);
    });
  });

  describe('refuses as an option', () => {
    it.each<[string, unknown, Refusal]>([
      [
        'null for all of them',
        null,
        wrongType('Expected an object such as { shape } for options but received null'),
      ],
      [
        'a number for all of them',
        3,
        wrongType(/^Expected an object such as { shape } for options but received 3/),
      ],
      ['shape null', { shape: null }, wrongType('Expected an array of sizes for shape but received null')],
      ['shape 6', { shape: 6 }, wrongType('Expected an array of sizes for shape but received 6')],
      ["shape 'x'", { shape: 'x' }, wrongType("Expected an array of sizes for shape but received 'x'")],
      ['shape {}', { shape: {} }, wrongType(/^Expected an array of sizes for shape but received \{\}$/)],
      ['an Int32Array for shape', { shape: Int32Array.of(6) }, wrongType(/but received Int32Array\(1\)$/)],
      ['no sizes', { shape: [] }, outOfRange('Expected at least one size for shape but received []')],
      [
        'a size of type string',
        { shape: [2, '3'] },
        wrongType("Expected an integer for shape[1] but received '3'"),
      ],
      [
        'a size of type bigint',
        { shape: [6n] },
        wrongType('Expected an integer for shape[0] but received 6n'),
      ],
      [
        'a hole in the shape',
        { shape: withHole },
        wrongType('Expected an integer for shape[1] but received undefined'),
      ],
      [
        'a size NaN',
        { shape: [NaN] },
        outOfRange('Expected a safe integer of at least 0 for shape[0] but received NaN'),
      ],
      ['a size Infinity', { shape: [Infinity, 0] }, outOfRange(/for shape\[0\] but received Infinity/)],
      ['a fraction', { shape: [1.5, 4] }, outOfRange(/for shape\[0\] but received 1.5/)],
      ['a negative size', { shape: [-2, -3] }, outOfRange(/for shape\[0\] but received -2/)],
      [
        'a negative size that stands for the rest',
        { shape: [2, -1] },
        outOfRange(/for shape\[1\] but received -1/),
      ],
      ['an unsafe size', { shape: [2 ** 53, 0] }, outOfRange(/for shape\[0\] but received 9007199254740992/)],
      [
        'a product that is less',
        { shape: [5] },
        shapeMismatch(
          'Expected sizes whose product is 6, the length of x, for shape but received [ 5 ] with the product 5',
        ),
      ],
      [
        'a product that is more',
        { shape: [2, 4] },
        shapeMismatch(/but received \[ 2, 4 \] with the product 8$/),
      ],
      ['a product of 0', { shape: [6, 0] }, shapeMismatch(/with the product 0$/)],
      [
        'a product that is unsafe',
        { shape: [2 ** 52, 2 ** 52] },
        shapeMismatch(/with the product 2.*e\+31$/),
      ],
      [
        'a product that wraps to the length in 64 bits',
        { shape: [2 ** 32, 2 ** 32, 1, 6] },
        shapeMismatch(/^Expected sizes/),
      ],
      [
        'a product beyond all numbers',
        { shape: Array.from({ length: 30 }, () => 2 ** 52) },
        shapeMismatch(/with the product Infinity$/),
      ],
      [
        'threads 0',
        { threads: 0 },
        outOfRange('Expected an integer of at least 1 for threads but received 0'),
      ],
      ['threads -1', { threads: -1 }, outOfRange(/for threads but received -1/)],
      ['threads 1.5', { threads: 1.5 }, outOfRange(/for threads but received 1.5/)],
      ['threads NaN', { threads: NaN }, outOfRange(/for threads but received NaN/)],
      ['threads Infinity', { threads: Infinity }, outOfRange(/for threads but received Infinity/)],
      ["threads '2'", { threads: '2' }, wrongType("Expected an integer for threads but received '2'")],
      ['threads null', { threads: null }, wrongType('Expected an integer for threads but received null')],
    ])('%s', (_name, options, refusal) => {
      const x = Float32Array.of(1, 2, 3, 4, 5, 6);
      const out = new Float32Array(36).fill(7);
      expectRefusal(
        () =>
          call(
            x,
            options === null || typeof options !== 'object'
              ? (options as object)
              : { ...options, ...withOut(out) },
          ),
        refusal,
      );
      expect(out.every((value) => value === 7)).toBe(true);
      expect([...x]).toEqual([1, 2, 3, 4, 5, 6]);
    });

    it('a shape in place of the options', () => {
      const options = [2, 3] as object;
      expectRefusal(
        () => call(new Float32Array(6), options),
        wrongType('Expected an object such as { shape } for options but received [ 2, 3 ]'),
      );
    });

    it('an option that it does not know', () => {
      const out = new Float32Array(16).fill(7);
      const x = Float32Array.of(1, 2, 3, 4);
      const others = [{ shapes: [2, 2] }, { Shape: [2, 2] }, { shape: [2, 2], signal: undefined }, { 0: 1 }];
      for (const options of others) {
        const name = Object.keys(options).at(-1)!;
        expectRefusal(
          () => call(x, { ...withOut(out), ...options }),
          unknownOption(
            new RegExp(
              `^Expected one of shape, threads, .+ for the name of an option but received '${name}'$`,
            ),
          ),
        );
      }
      expect(out.every((value) => value === 7)).toBe(true);
      // Objects may inherit what they like, and options too.
      class Options {
        declare hint: string;
        shape = [2, 2];
        static {
          Object.assign(this.prototype, { hint: 'mine' });
        }
      }
      call(x, Object.assign(new Options(), withOut(out)));
      expect(out[0]).not.toBe(7);
    });

    it('shape and dims that differ', () => {
      const data = new Float32Array(6);
      expectRefusal(
        () => call({ data, shape: [2, 3], dims: [3, 2] }),
        shapeMismatch('Expected the sizes of x.shape, [ 2, 3 ], for x.dims but received [ 3, 2 ]'),
      );
      expectRefusal(
        () => call({ data, shape: [Symbol('two'), 3], dims: [2, 3] }),
        shapeMismatch('Expected the sizes of x.shape, [ Symbol(two), 3 ], for x.dims but received [ 2, 3 ]'),
      );
      expect(call({ data, shape: [2, 3], dims: [2, 3] })).toHaveProperty('shape');
    });

    it('another shape than x has itself', () => {
      const rows = [[1, 2, 3], [4, 5, 6]]; // prettier-ignore
      for (const shape of [[3, 2], [6], [2, 3, 1]]) {
        expectRefusal(
          () => call(rows, { shape }),
          shapeMismatch(/^Expected the shape of x itself, \[ 2, 3 \], for shape/),
        );
        expectRefusal(
          () => call({ data: new Float32Array(6), dims: [2, 3] }, { shape }),
          shapeMismatch(/^Expected the shape of x itself/),
        );
      }
      expectRefusal(
        () => call(rows, { shape: 6 }),
        wrongType('Expected an array of sizes for shape but received 6'),
      );
    });
  });
});

describe.each(operations.slice(0, 2))('$name', ({ call, withOut }) => {
  it.each<[string, unknown, Refusal]>([
    ['2 of rank 2', 2, outOfRange('Expected an integer from -2 to 1 for axis but received 2')],
    ['-3 of rank 2', -3, outOfRange(/^Expected an integer from -2 to 1 for axis/)],
    ['0.5', 0.5, outOfRange(/for axis but received 0.5/)],
    ['NaN', NaN, outOfRange(/for axis but received NaN/)],
    ['-Infinity', -Infinity, outOfRange(/for axis but received -Infinity/)],
    ["'0'", '0', wrongType("Expected an integer for axis but received '0'")],
    ['null', null, wrongType('Expected an integer for axis but received null')],
    ['[0]', [0], wrongType('Expected an integer for axis but received [ 0 ]')],
  ])('refuses axis %s', (_name, axis, refusal) => {
    const out = new Float32Array(6).fill(7);
    expectRefusal(() => call(new Float32Array(6), { shape: [2, 3], axis, ...withOut(out) }), refusal);
    expect(out.every((value) => value === 7)).toBe(true);
  });

  it('refuses an axis beyond rank 1 without a shape', () => {
    expectRefusal(
      () => call(new Float32Array(6), { axis: 1 }),
      outOfRange(
        'Expected an integer from -1 to 0, as x is one row without a shape, for axis but received 1',
      ),
    );
  });
});

describe.each([
  { name: 'softmax', call: operations[0]!.call, needed: 6, resultShape: [2, 3] },
  { name: 'softmaxJacobian', call: operations[2]!.call, needed: 18, resultShape: [2, 3, 3] },
])('$name refuses as out', ({ call, needed, resultShape }) => {
  const shape = [2, 3];
  const x = Float32Array.of(1, 2, 3, 4, 5, 6);

  it.each<[string, unknown, Refusal]>([
    ['null', null, wrongType('Expected Float32Array for out but received null')],
    ['a number', 5, wrongType('Expected Float32Array for out but received 5')],
    ['true', true, wrongType('Expected Float32Array for out but received true')],
    [
      'an array',
      [1, 2, 3, 4, 5, 6],
      wrongType(/^Expected Float32Array for out but received \[ 1, 2, 3, 4, 5, 6 \]$/),
    ],
    [
      'Float64Array for float32',
      new Float64Array(99),
      wrongType('Expected Float32Array for out but received Float64Array(99)'),
    ],
    [
      'Int32Array',
      new Int32Array(99),
      wrongType('Expected Float32Array for out but received Int32Array(99)'),
    ],
    ['a buffer', new ArrayBuffer(999), wrongType(/^Expected Float32Array for out/)],
    ['an object for an array', { data: new Float32Array(99) }, wrongType(/^Expected Float32Array for out/)],
    [
      'an empty array',
      new Float32Array(0),
      shapeMismatch(`Expected an array of at least ${needed} elements for out but received one of 0`),
    ],
    [
      'an array that is too small',
      new Float32Array(needed - 1),
      shapeMismatch(
        `Expected an array of at least ${needed} elements for out but received one of ${needed - 1}`,
      ),
    ],
  ])('%s', (_name, out, refusal) => {
    expectRefusal(() => call(x, { shape, out }), refusal);
  });

  it('Float32Array for float64, plain numbers too', () => {
    const out = new Float32Array(99).fill(7);
    const refusal = wrongType('Expected Float64Array for out but received Float32Array(99)');
    expectRefusal(() => call(new Float64Array(6), { shape, out }), refusal);
    expectRefusal(() => call([1, 2, 3, 4, 5, 6], { shape, out }), refusal);
    expectRefusal(() => call([[1, 2, 3], [4, 5, 6]], { out }), refusal); // prettier-ignore
    expectRefusal(() => call({ data: new Float64Array(6), shape }, { out }), refusal);
    expect(out.every((value) => value === 7)).toBe(true);
  });

  it('an object that does not hold such an array', () => {
    const tensor = { data: x, shape };
    const data = new Float32Array(needed).fill(7);
    expectRefusal(
      () => call(tensor, { out: {} }),
      wrongType(/^Expected Float32Array or { data } for out but received {}$/),
    );
    expectRefusal(
      () => call(tensor, { out: { data: new Float64Array(99) } }),
      wrongType('Expected Float32Array for out.data but received Float64Array(99)'),
    );
    expectRefusal(
      () => call(tensor, { out: { data: data.subarray(1) } }),
      shapeMismatch(/^Expected an array of at least/),
    );
    expectRefusal(
      () => call(tensor, { out: { data, dims: [needed] } }),
      shapeMismatch(/^Expected the result's shape, \[2, 3.*\], for out.dims but received/),
    );
    expectRefusal(
      () => call(tensor, { out: { data, shape: [...resultShape].fill(1, 0, 1) } }),
      shapeMismatch(/for out.shape/),
    );
    expectRefusal(
      () => call(tensor, { out: { data, shape: 5 } }),
      wrongType(/^Expected an array of sizes for out.shape/),
    );
    expectRefusal(
      () => call(tensor, { out: { data, shape: resultShape, stride: [...resultShape].fill(1) } }),
      shapeMismatch(/for out.stride/),
    );
    expect(data.every((value) => value === 7)).toBe(true);
  });
});

describe('rowMax refuses', () => {
  const x = Float32Array.of(1, 2, 3, 4, 5, 6);
  const call = (options: object): unknown => rowMax(x, { shape: [2, 3], ...options });

  it.each<[string, object, Refusal]>([
    ['keepdims 1', { keepdims: 1 }, wrongType('Expected a boolean for keepdims but received 1')],
    ['keepdims null', { keepdims: null }, wrongType('Expected a boolean for keepdims but received null')],
    ['out null', { out: null }, wrongType('Expected an object { max, argmax } for out but received null')],
    [
      'an array for out',
      { out: new Float32Array(2) },
      wrongType(/^Expected an object \{ max, argmax \} for out but received Float32Array/),
    ],
    [
      'no arrays for out',
      { out: [] },
      wrongType('Expected an object { max, argmax } for out but received []'),
    ],
    [
      'a misspelt array of out',
      { out: { max: new Float32Array(2), argMax: new Int32Array(2) } },
      unknownOption(
        "Expected one of max, argmax, shape for the name of a property of out but received 'argMax'",
      ),
    ],
    [
      'out.max null',
      { out: { max: null } },
      wrongType('Expected Float32Array for out.max but received null'),
    ],
    [
      'out.max of another type',
      { out: { max: new Float64Array(2) } },
      wrongType(/^Expected Float32Array for out.max/),
    ],
    [
      'out.argmax of another type',
      { out: { argmax: new Uint32Array(2) } },
      wrongType('Expected Int32Array for out.argmax but received Uint32Array(2)'),
    ],
    [
      'out.max that is too small',
      { out: { max: new Float32Array(1) } },
      shapeMismatch('Expected an array of at least 2 elements for out.max but received one of 1'),
    ],
    [
      'out.argmax that is too small',
      { out: { argmax: new Int32Array(1) } },
      shapeMismatch('Expected an array of at least 2 elements for out.argmax but received one of 1'),
    ],
    ['out.max in x', { out: { max: x } }, overlapping(/^Expected memory apart from x for out.max/)],
    ['out.max at the end of x', { out: { max: x.subarray(4) } }, overlapping(/for out.max/)],
    [
      'out.argmax in x',
      { out: { argmax: new Int32Array(x.buffer) } },
      overlapping(/^Expected memory apart from x for out.argmax/),
    ],
  ])('%s', (_name, options, refusal) => {
    expectRefusal(() => call(options), refusal);
    expect([...x]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('out.max and out.argmax in one memory', () => {
    const memory = new ArrayBuffer(16);
    const max = new Float32Array(memory).fill(7);
    for (const argmax of [new Int32Array(memory), new Int32Array(memory, 4, 2)]) {
      expectRefusal(
        () => call({ out: { max, argmax } }),
        overlapping(/^Expected memory apart from out.max for out.argmax/),
      );
    }
    expect([...max]).toEqual([7, 7, 7, 7]);
    // What is not written may be shared.
    expect(rowMax(x, { shape: [2, 3], out: { max, argmax: new Int32Array(memory, 8) } }).argmax[1]).toBe(2);
  });

  it('rows of more than 2**31 - 1 elements', (context) => {
    let long: Float32Array;
    try {
      long = new Float32Array(2 ** 31);
    } catch {
      return context.skip('this machine does not give 8 GiB of address space');
    }
    expectRefusal(
      () => rowMax(long),
      outOfRange('Expected at most 2147483647 elements in a row for x but received 2147483648'),
    );
  });
});

describe('a result that cannot be allocated', () => {
  it('of softmaxJacobian is refused', () => {
    const message =
      /^Expected a size that can be allocated for the Jacobian of 1 x 1000000 logits but received 1000000000000 elements, 4000000000000 bytes$/;
    expectRefusal(() => softmaxJacobian(new Float32Array(1e6)), outOfMemory(message));
    expectRefusal(
      () => softmaxJacobian(new Float64Array(1e7), { shape: [10, 1e6] }),
      outOfMemory(/ 80000000000000 bytes$/),
    );
  });

  it('of softmaxJacobian in an out of the wrong size is one that is too small', () => {
    expectRefusal(
      () => softmaxJacobian(new Float32Array(1e6), { out: new Float32Array(9) }),
      shapeMismatch(/at least 1000000000000 elements/),
    );
  });

  it('of rowMax is refused', () => {
    const x = new Float32Array(0);
    expectRefusal(
      () => rowMax(x, { shape: [2 ** 45, 0] }),
      outOfMemory(/for max but received 35184372088832 elements/),
    );
    expectRefusal(
      () => rowMax(x, { shape: [2 ** 52, 2 ** 52, 0] }),
      outOfMemory(/received 2.*e\+31 elements/),
    );
    expectRefusal(
      () => rowMax(x, { shape: [...Array.from({ length: 30 }, () => 2 ** 52), 0] }),
      outOfMemory(/Infinity/),
    );
  });
});

describe('an option that throws when it is read', () => {
  it('throws its own error', () => {
    const own = new Error('own');
    const options = {
      get shape(): number[] {
        throw own;
      },
    };
    for (const { call } of operations) expect(() => call(new Float32Array(2), options)).toThrow(own);
  });
});

describe('what fuzzing found: of an argument that answers differently later', () => {
  it.each(operations)(
    '$name reads the first element of plain logits before it decides what they are',
    ({ call }) => {
      let reads = 0;
      const x: unknown[] = Object.defineProperty([0, 2], 0, { get: () => (reads++ === 0 ? [1] : undefined) });
      expectRefusal(() => call(x), wrongType('Expected an array of numbers for x[0] but received undefined'));
    },
  );

  it('rowMax takes the shape of its result from the sizes that it read', () => {
    let reads = 0;
    const shape = Object.defineProperty([2, 3], 0, { get: () => (reads++ === 0 ? 2 : 7) });
    expect(rowMax(Float32Array.of(1, 2, 3, 6, 5, 4), { shape }).shape).toEqual([2]);
    expect(reads).toBe(1);
  });

  it.each(operations)('$name names a typed array by its own type, whatever properties it has', ({ call }) => {
    const x = Object.defineProperties(Int8Array.of(1, 2), {
      length: { value: 5 },
      [Symbol.toStringTag]: { value: Symbol('tag') },
    });
    expectRefusal(() => call(x), wrongType(/but received Int8Array\(2\)$/));
  });

  it.each(operations)(
    '$name counts the elements of an array itself, whatever its property says',
    ({ call }) => {
      const x = (length: number): Float32Array =>
        Object.defineProperty(Float32Array.of(0, 0), 'length', { value: length });
      expect(call(x(100), { shape: [2] })).toEqual(call(Float32Array.of(0, 0), { shape: [2] }));
      expect(call(x(100))).toEqual(call(Float32Array.of(0, 0)));
      expectRefusal(
        () => call(x(100), { shape: [100] }),
        shapeMismatch(/whose product is 2, the length of x,/),
      );
    },
  );
});
