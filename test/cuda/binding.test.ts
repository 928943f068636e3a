// The native functions for GPUs themselves: what memory's safety rests on is checked again below lib/.
import { describe, expect, it } from 'vitest';
import { native, type NativeMemory } from '../../lib/binding.ts';
import { expectSameBits } from '../support/bits.ts';
import { noGpu } from './support.ts';

type Call = (...values: unknown[]) => unknown;
const cuda = native().cuda as unknown as Record<string, Call>;
const call =
  (name: string, ...values: unknown[]) =>
  (): unknown =>
    cuda[name]!(...values);

/** Every value that is no tensor's memory. */
const notMemory = [undefined, null, 3, 'x', {}, new Float32Array(4), 8n, Symbol('x')];
const notSizes = [undefined, null, '1', -1, 1n];
const notDtypes = [undefined, -1, 3, 0.5 + 3, 'float32', null];

function expectCode(act: () => unknown, code: RegExp): void {
  let error: unknown;
  try {
    act();
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(Error);
  expect((error as { code: string }).code).toMatch(code);
}

const refused = /^ERR_(INVALID_ARG_TYPE|OUT_OF_RANGE|SHAPE_MISMATCH|OVERLAP)$/;

describe.skipIf(noGpu)('the native functions', () => {
  const make = (bytes: number): NativeMemory => native().cuda.allocate(0, bytes);
  const x = Float32Array.of(1, 2, 3, 4, 5, 6);

  it('refuse what is no memory of a tensor', () => {
    const memory = make(64);
    const array = new Float32Array(4);
    for (const other of notMemory) {
      for (const act of [
        call('free', other),
        call('pointer', other),
        call('upload', other, array),
        call('downloadSync', other, array, 4),
        call('download', other, array),
        call('tensorSoftmax', other, memory, 0, 1, 1, 1),
        call('tensorSoftmax', memory, other, 0, 1, 1, 1),
        call('tensorRowMax', other, memory, undefined, 0, 1, 1, 1),
        call('tensorRowMax', memory, other, undefined, 0, 1, 1, 1),
        call('tensorSoftmaxJacobian', other, memory, 0, 1, 1),
        call('tensorSoftmaxJacobian', memory, other, 0, 1, 1),
      ]) {
        expectCode(act, /^ERR_INVALID_ARG_TYPE$/);
      }
    }
    expectCode(call('tensorRowMax', memory, make(64), 3, 0, 1, 1, 1), /^ERR_INVALID_ARG_TYPE$/);
  });

  it('refuse memory that was freed, and free it once', () => {
    const [gone, memory] = [make(64), make(64)];
    cuda['free']!(gone);
    cuda['free']!(gone);
    for (const act of [
      call('pointer', gone),
      call('upload', gone, x),
      call('downloadSync', gone, x, 6),
      call('download', gone, x),
      call('tensorSoftmax', gone, memory, 0, 1, 1, 1),
      call('tensorSoftmax', memory, gone, 0, 1, 1, 1),
      call('tensorRowMax', memory, make(64), gone, 0, 1, 1, 1),
      call('tensorSoftmaxJacobian', memory, gone, 0, 1, 1),
    ]) {
      expectCode(act, /^ERR_DISPOSED$/);
    }
  });

  it('refuse sizes past the memory', () => {
    const [from, to] = [make(24), make(24)];
    for (const act of [
      call('upload', from, new Float32Array(7)),
      call('downloadSync', from, new Float64Array(4), 4),
      call('downloadSync', from, new Float32Array(9), 7),
      call('downloadSync', from, x, 7),
      call('downloadSync', from, x, 2 ** 62),
      call('download', from, new Float32Array(7)),
      call('download', from, new Float64Array(4)),
      call('tensorSoftmax', from, to, 0, 7, 1, 1),
      call('tensorSoftmax', from, to, 1, 2, 2, 1),
      call('tensorSoftmax', make(99), to, 0, 1, 7, 1),
      call('tensorRowMax', from, to, undefined, 0, 1, 7, 1),
      call('tensorRowMax', make(99), to, undefined, 0, 7, 1, 1),
      call('tensorRowMax', make(99), make(99), to, 0, 7, 1, 1),
      call('tensorRowMax', from, to, undefined, 0, 7, 0, 1),
      call('tensorSoftmaxJacobian', from, to, 0, 1, 3),
    ]) {
      expectCode(act, /^ERR_SHAPE_MISMATCH$/);
    }
    for (const act of [
      call('tensorSoftmax', from, to, 0, 2 ** 62, 4, 1),
      call('tensorSoftmax', from, to, 0, 2 ** 32, 2 ** 32, 1),
      call('tensorSoftmaxJacobian', from, to, 0, 1, 2 ** 32),
      call('tensorRowMax', from, to, undefined, 0, 0, 2 ** 31, 1),
    ]) {
      expectCode(act, /^ERR_OUT_OF_RANGE$/);
    }
  });

  it('refuse other sizes, element types, devices and arrays', () => {
    const [from, to] = [make(64), make(64)];
    for (const size of notSizes) {
      for (const act of [
        call('allocate', 0, size),
        call('fromPointer', 0, 4096n, size),
        call('downloadSync', from, x, size),
        call('allocatePinned', 0, size),
        call('tensorSoftmax', from, to, 0, size, 1, 1),
        call('tensorSoftmax', from, to, 0, 1, size, 1),
        call('tensorSoftmax', from, to, 0, 1, 1, size),
        call('tensorSoftmaxJacobian', from, to, 0, 1, size),
      ]) {
        expectCode(act, refused);
      }
    }
    for (const dtype of notDtypes) {
      expectCode(call('allocatePinned', dtype, 1), refused);
      expectCode(call('tensorSoftmax', from, to, dtype, 1, 1, 1), refused);
    }
    expectCode(call('tensorSoftmax', from, to, 2, 1, 1, 1), refused);
    for (const device of [undefined, null, 'cuda:0', {}]) {
      for (const name of ['start', 'isStarted', 'costs', 'synchronize'])
        expectCode(call(name, device), refused);
      expectCode(call('allocate', device, 8), refused);
      expectCode(call('softmax', device, x, x, 1, 6, 1), refused);
    }
    for (const device of [-1, 99]) {
      expectCode(call('allocate', device, 8), /^ERR_CUDA$/);
      expectCode(call('start', device), /^ERR_CUDA$/);
      expectCode(call('costs', device), /^ERR_CUDA$/);
      expectCode(call('softmax', device, x, x, 1, 6, 1), /^ERR_CUDA$/);
      expect(cuda['isStarted']!(device)).toBe(false);
    }
    for (const array of [
      undefined,
      [1],
      new Uint8Array(4),
      new BigInt64Array(1),
      new DataView(new ArrayBuffer(8)),
    ]) {
      expectCode(call('upload', from, array), refused);
      expectCode(call('downloadSync', from, array, 1), refused);
      expectCode(call('download', from, array), refused);
      expectCode(call('softmax', 0, array, x, 1, 1, 1), refused);
    }
    for (const pointer of [8, '8', undefined, 2n ** 64n, -1n]) {
      expectCode(call('fromPointer', 0, pointer, 8), refused);
    }
  });

  it('refuse tensors that overlap or lie between elements', () => {
    const memory = make(256);
    cuda['upload']!(memory, new Float32Array(64));
    const pointer = native().cuda.pointer(memory);
    const at = (offset: number, bytes: number): NativeMemory =>
      native().cuda.fromPointer(0, pointer + BigInt(offset), bytes);
    expectCode(call('tensorSoftmax', at(0, 24), at(4, 24), 0, 1, 6, 1), /^ERR_OVERLAP$/);
    expectCode(call('tensorRowMax', at(0, 24), at(20, 24), undefined, 0, 1, 6, 1), /^ERR_OVERLAP$/);
    expectCode(call('tensorRowMax', at(0, 24), at(64, 4), at(64, 4), 0, 1, 6, 1), /^ERR_OVERLAP$/);
    expectCode(call('tensorSoftmaxJacobian', at(0, 8), at(0, 16), 0, 1, 2), /^ERR_OVERLAP$/);
    expectCode(call('tensorSoftmax', at(2, 24), at(128, 24), 0, 1, 6, 1), /^ERR_OUT_OF_RANGE$/);
    expectCode(call('tensorSoftmax', at(4, 24), at(128, 24), 1, 1, 3, 1), /^ERR_OUT_OF_RANGE$/);
    const out = new Float32Array(64);
    cuda['downloadSync']!(memory, out, 64);
    expectSameBits(out, new Float32Array(64), 'memory');
  });

  it('take no memory for nothing', () => {
    const nothing = make(0);
    cuda['upload']!(nothing, new Float32Array(0));
    cuda['tensorSoftmax']!(nothing, nothing, 0, 0, 5, 1);
    cuda['downloadSync']!(nothing, new Float32Array(0), 0);
    cuda['free']!(nothing);
    expect(native().cuda.allocatePinned(1, 0)).toBeUndefined();
  });

  it('measure what costs are made of', () => {
    const costs = native().cuda.costs(0);
    expect(Object.keys(costs).toSorted()).toEqual(['download', 'launch', 'staging', 'upload']);
    for (const cost of Object.values(costs)) expect(cost).toBeGreaterThan(0);
    expect(native().cuda.costs(0)).toEqual(costs);
    expect(native().cuda.isStarted(0)).toBe(true);
  });
});
