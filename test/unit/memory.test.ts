// Arrays as JavaScript may hand them over: of other realms, over shared, resizable, detached and overlapping memory.
import vm from 'node:vm';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { rowMax, softmax, softmaxJacobian } from '../../lib/index.ts';
import { detached, expectRefusal, overlapping, shapeMismatch, wrongType } from './support.ts';

const logits = [1, 2, 3, 4, 5, 6];
const expected = softmax(Float32Array.from(logits), { shape: [2, 3] });

type AnyArray = Float32Array | Float64Array | Int32Array;

function detach(array: AnyArray): void {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
}

/** A buffer that can shrink: newer than the compiler's library. */
interface ResizableBuffer extends ArrayBuffer {
  resize(bytes: number): void;
}

function resizable(bytes: number): ResizableBuffer {
  const Resizable = ArrayBuffer as unknown as new (bytes: number, options: object) => ResizableBuffer;
  return new Resizable(bytes, { maxByteLength: 64 });
}

describe('arrays of another realm', () => {
  const context = vm.createContext({ logits });
  const x = vm.runInContext('Float32Array.from(logits)', context) as Float32Array;

  it('are not instances of this one', () => {
    expect(x).not.toBeInstanceOf(Float32Array);
  });

  it('are read and written', () => {
    const y = softmax(x, { shape: [2, 3] });
    expect(y).toBeInstanceOf(Float32Array);
    expect(y).toEqual(expected);
    const out = vm.runInContext('new Float32Array(6)', context) as Float32Array;
    expect(softmax(x, { shape: [2, 3], out })).toBe(out);
    expect([...out]).toEqual([...expected]);
    const argmax = vm.runInContext('new Int32Array(2)', context) as Int32Array;
    expect(rowMax(x, { shape: [2, 3], out: { argmax } }).argmax).toBe(argmax);
    expect([...argmax]).toEqual([2, 2]);
    const jacobian = vm.runInContext('new Float32Array(18)', context) as Float32Array;
    expect(softmaxJacobian(x, { shape: [2, 3], out: jacobian })).toBe(jacobian);
    expect(jacobian[0]).toBeGreaterThan(0);
  });

  it('of plain numbers, shapes and options are read', () => {
    const shape = vm.runInContext('[2, 3]', context) as number[];
    expect(softmax(x, { shape })).toEqual(expected);
    const rows = vm.runInContext('[[0, 0], [0, 0]]', context) as number[][];
    expect(softmax(rows)).toEqual([[0.5, 0.5], [0.5, 0.5]]); // prettier-ignore
    const tensor = vm.runInContext('({ data: Float32Array.from(logits), dims: [2, 3] })', context) as {
      data: Float32Array;
      dims: number[];
    };
    expect(softmax(tensor)).toEqual({ data: expected, dims: [2, 3] });
    expect(softmax(x, vm.runInContext('({ shape: [2, 3] })', context) as object)).toEqual(expected);
  });
});

describe('shared memory', () => {
  const memory = new SharedArrayBuffer(64);
  const x = new Float32Array(memory, 4, 6);

  it('is read and written', () => {
    x.set(logits);
    const y = softmax(x, { shape: [2, 3] });
    expect(y.buffer).toBeInstanceOf(ArrayBuffer);
    expect(y).toEqual(expected);
    const out = new Float32Array(new SharedArrayBuffer(24));
    expect(softmax(x, { shape: [2, 3], out })).toBe(out);
    expect([...out]).toEqual([...expected]);
  });

  it('is known by its address, not by its object', () => {
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(memory);
    const { message } = receiveMessageOnPort(port2) as { message: SharedArrayBuffer };
    port1.close();
    expect(message).not.toBe(memory);

    x.set(logits);
    const shifted = new Float32Array(message, 8, 6);
    const refusal = overlapping(/^Expected x itself or memory apart from it for out/);
    expectRefusal(() => softmax(x, { shape: [2, 3], out: shifted }), refusal);
    expect([...x]).toEqual(logits);
    const same = new Float32Array(message, 4, 6);
    expect(softmax(x, { shape: [2, 3], out: same })).toBe(same);
    expect([...x]).toEqual([...expected]);
  });
});

describe('overlapping memory', () => {
  const memory = new Float64Array(40).map((_, i) => i);
  const x = memory.subarray(10, 16);

  it.each([-5, -4, -1, 1, 2, 5])('is refused where out of softmax lies %i elements from x', (shift) => {
    const out = memory.subarray(10 + shift, 16 + shift);
    const before = [...memory];
    expectRefusal(() => softmax(x, { out }), overlapping(/but received a part of x's memory$/));
    expectRefusal(() => softmax({ data: x, shape: [6] }, { out: { data: out } }), overlapping(/for out/));
    expect([...memory]).toEqual(before);
  });

  it('is refused where it begins before x and is long enough to reach it, but not where only what is left over would', () => {
    const before = [...memory];
    expectRefusal(() => softmax(x, { out: memory.subarray(5) }), overlapping(/for out/));
    expect([...memory]).toEqual(before);
    const copy = memory.slice();
    const own = copy.subarray(10, 16);
    softmax(own, { out: copy.subarray(4) });
    expect([...own]).toEqual([10, 11, 12, 13, 14, 15]);
  });

  it('is refused by softmaxJacobian even where out is x', () => {
    const rows = memory.subarray(10, 12);
    const before = [...memory];
    for (const begin of [9, 10, 11]) {
      const out = memory.subarray(begin, begin + 2);
      const refusal = overlapping(/^Expected memory apart from x for out but received a part of x's memory$/);
      expectRefusal(() => softmaxJacobian(rows, { shape: [2, 1], out }), refusal);
    }
    expect([...memory]).toEqual(before);
  });
});

describe('detached arrays', () => {
  const operations = [
    ['softmax', (x: Float32Array, shape?: number[]): unknown => softmax(x, { shape })],
    ['rowMax', (x: Float32Array, shape?: number[]): unknown => rowMax(x, { shape })],
    ['softmaxJacobian', (x: Float32Array, shape?: number[]): unknown => softmaxJacobian(x, { shape })],
  ] as const;

  it.each(operations)('are refused as x by %s, not taken for empty ones', (_name, call) => {
    const x = new Float32Array(6);
    detach(x);
    const refusal = detached(
      /^Expected an array with memory for x but received one whose buffer is detached/,
    );
    expectRefusal(() => call(x), refusal);
    expectRefusal(() => call(x, [6]), refusal);
    expectRefusal(() => call(x, [0]), refusal);
    expectRefusal(() => softmax({ data: x, shape: [2, 3] }), refusal);
  });

  it('are refused as out', () => {
    const x = new Float32Array(6);
    const out = new Float32Array(36);
    detach(out);
    expectRefusal(() => softmax(x, { out }), detached(/for out but/));
    expectRefusal(() => softmaxJacobian(x, { out }), detached(/for out but/));
    expectRefusal(() => rowMax(x, { out: { max: out } }), detached(/for out.max but/));
    const argmax = new Int32Array(2);
    detach(argmax);
    expectRefusal(() => rowMax(x, { out: { argmax } }), detached(/for out.argmax but/));
    expectRefusal(() => softmax(new Float32Array(0), { out }), detached(/for out but/));
  });
});

describe('resizable buffers', () => {
  it('are read and written at the length that they have', () => {
    const buffer = resizable(24);
    const x = new Float32Array(buffer);
    x.set(logits);
    expect(softmax(x, { shape: [2, 3] })).toEqual(expected);
    buffer.resize(32);
    expect(softmax(x)).toHaveLength(8);
    expectRefusal(() => softmax(x, { shape: [2, 3] }), shapeMismatch(/^Expected sizes whose product is 8/));
    buffer.resize(12);
    expect(softmax(x)).toEqual(softmax(Float32Array.of(1, 2, 3)));
    const out = new Float32Array(resizable(12));
    expect(softmax(x, { out })).toBe(out);
    buffer.resize(0);
    expect(softmax(x)).toEqual(new Float32Array(0));
  });

  it('that shrank below an array are refused', () => {
    const buffer = resizable(32);
    const fixed = new Float32Array(buffer, 8, 6);
    const tracking = new Float32Array(buffer, 16);
    buffer.resize(24);
    expect([fixed.length, tracking.length]).toEqual([0, 2]);
    expectRefusal(() => softmax(fixed), detached(/too small for it$/));
    expectRefusal(() => softmax(Float32Array.of(1), { out: fixed }), detached(/for out but/));
    buffer.resize(12);
    expectRefusal(() => softmax(tracking), detached(/for x but/));
    buffer.resize(16);
    expect(softmax(tracking)).toEqual(new Float32Array(0));
    buffer.resize(32);
    expect(softmax(fixed)).toHaveLength(6);
  });
});

describe('new results', () => {
  // From 16 KB on memory is taken that is not made zeros, from 2 MB on huge pages are asked for.
  it.each([2 ** 12 - 1, 2 ** 12, 2 ** 20])('of %i rows have memory of their own', (count) => {
    const x = Float32Array.from({ length: count }, (_, i) => (i * 37) % 101);
    const shape = [count, 1];
    const { max, argmax } = rowMax(x, { shape });
    const empty = rowMax(new Float64Array(0), { shape: [count, 0] });
    const results: [AnyArray, AnyArray][] = [
      [softmax(x, { shape }), new Float32Array(count).fill(1)],
      [softmax(Float64Array.from(x), { shape }), new Float64Array(count).fill(1)],
      [softmaxJacobian(x, { shape }), new Float32Array(count)],
      [max, x],
      [argmax, new Int32Array(count)],
      [empty.max, new Float64Array(count).fill(-Infinity)],
      [empty.argmax, new Int32Array(count).fill(-1)],
    ];
    for (const [result, elements] of results) {
      expect(Buffer.compare(Buffer.from(result.buffer), Buffer.from(elements.buffer))).toBe(0);
      detach(result);
      expect(result.length).toBe(0);
    }
  });
});

describe('getters that change memory while the arguments are read', () => {
  /** Options that call `effect` when the last of them is read. */
  const late = (effect: () => void, options: object): object => ({
    ...options,
    get threads(): number {
      effect();
      return 1;
    },
  });

  it('cannot make a call read or write memory that is gone', () => {
    for (const shape of [undefined, [2, 3], [6]]) {
      const x = Float32Array.from(logits);
      expectRefusal(
        () =>
          softmax(
            x,
            late(() => detach(x), { shape }),
          ),
        detached(/for x but/),
      );

      const out = new Float32Array(6);
      expectRefusal(
        () =>
          softmax(
            Float32Array.from(logits),
            late(() => detach(out), { shape, out }),
          ),
        detached(/for out but/),
      );

      const max = new Float32Array(6);
      const rowOut = late(() => detach(max), { shape, out: { max } });
      expectRefusal(() => rowMax(Float32Array.from(logits), rowOut), detached(/for out.max but/));
    }
  });

  it('of the shape, of tensors and of out are read before any length is', () => {
    const x = Float32Array.from(logits);
    const shape = [2, 3];
    Object.defineProperty(shape, 1, {
      get() {
        detach(x);
        return 3;
      },
    });
    expectRefusal(() => softmax(x, { shape }), detached(/for x but/));

    const data = Float32Array.from(logits);
    const out = {
      get data(): Float32Array {
        detach(data);
        return new Float32Array(6);
      },
    };
    expectRefusal(() => softmax({ data, shape: [6] }, { out }), detached(/for x but/));

    const max = Float32Array.from(logits);
    const both = {
      max,
      get argmax(): Int32Array {
        detach(max);
        return new Int32Array(6);
      },
    };
    expectRefusal(() => rowMax(new Float32Array(6), { out: both }), detached(/for out.max but/));
  });

  it('that give another answer every time have one counted', () => {
    let reads = 0;
    const shape = new Proxy([2, 3], {
      get(target, name): unknown {
        if (name !== '1') return Reflect.get(target, name);
        reads++;
        return reads === 1 ? 3 : 4e9;
      },
    });
    expect(softmax(Float32Array.from(logits), { shape })).toEqual(expected);
  });

  it('cannot grow plain numbers past what was allocated', () => {
    const x: unknown[] = [1, 2, 3];
    Object.defineProperty(x, 1, {
      get() {
        x.push(4, 5, 6);
        return 2;
      },
    });
    expect(softmax(x as number[])).toEqual(softmax([1, 2, 3]));
    const shrinking: unknown[] = [1, 2, 3];
    Object.defineProperty(shrinking, 1, {
      get() {
        shrinking.length = 2;
        return 2;
      },
    });
    expectRefusal(
      () => softmax(shrinking as number[]),
      wrongType('Expected a number for x[2] but received undefined'),
    );
  });

  it('cannot claim a length that an array does not have', () => {
    class Claiming extends Float32Array {
      override get length(): number {
        return 1e6;
      }
    }
    const x = new Claiming(4);
    expect(softmax(x)).toEqual(Float32Array.of(0.25, 0.25, 0.25, 0.25));
    expectRefusal(() => softmax(x, { shape: [1e6] }), shapeMismatch(/whose product is 4, the length of x,/));
    expectRefusal(
      () => softmax(new Float32Array(1e6), { out: x }),
      shapeMismatch(/for out but received one of 4$/),
    );
  });
});
