// GPUs that are none, for tests of what lib/ does before and after a native call: memory is an array of the host, the
// CPU computes, and any call can be made to fail.
import { vi } from 'vitest';
import {
  native,
  type FloatArray,
  type NativeCuda,
  type NativeCudaInfo,
  type NativeMemory,
} from '../../lib/binding.ts';
import type * as library from '../../lib/index.ts';

const cpu = native();

export interface FakeOptions {
  info?: Partial<NativeCudaInfo>;
  /** The function that fails, and how. */
  failing?: Partial<Record<keyof NativeCuda, Error>>;
  started?: boolean;
  /** False for a JavaScript runtime that accepts no memory but its own. */
  takesMemory?: boolean;
}

export interface Fake {
  cuda: NativeCuda;
  /** The names of the functions that were called. */
  calls: (keyof NativeCuda)[];
  /** Bytes that were allocated and not freed. */
  live: () => number;
  failing: Partial<Record<keyof NativeCuda, Error>>;
}

export const gpu: NativeCudaInfo['devices'][number] = {
  name: 'Fake 9000',
  computeCapability: '9.0',
  memory: 2 ** 36,
  multiprocessors: 132,
};

/** An error as native code throws it. */
export function nativeError(code: number, name: string): Error {
  const message = `Allocating device memory failed: ${name} (${code}): out of memory`;
  return Object.assign(new Error(message), { code: 'ERR_CUDA', cudaCode: code, cudaName: name });
}

function fill(array: FloatArray | Int32Array, bytes: Uint8Array, length: number): void {
  const count = length * array.BYTES_PER_ELEMENT;
  new Uint8Array(array.buffer, array.byteOffset, count).set(bytes.subarray(0, count));
}

const arrayTypes = [Float32Array, Float64Array, Int32Array] as const;

export function fakeCuda({
  info = {},
  failing = {},
  started = false,
  takesMemory = true,
}: FakeOptions = {}): Fake {
  const calls: (keyof NativeCuda)[] = [];
  const memories = new Map<
    NativeMemory,
    { pointer: bigint; bytes: Uint8Array<ArrayBuffer>; device: number }
  >();
  const startedDevices = new Set(started ? [0] : []);
  let nextPointer = 0x7000_0000n;
  let warned = false;

  const bytesOf = (memory: NativeMemory): Uint8Array<ArrayBuffer> => {
    const found = memories.get(memory);
    if (found === undefined) throw new Error('a freed handle reached the native library');
    return found.bytes;
  };
  const view = (memory: NativeMemory, dtype: 0 | 1 | 2): never => {
    const { buffer, byteOffset, byteLength } = bytesOf(memory);
    const type = arrayTypes[dtype];
    return new type(buffer, byteOffset, byteLength / type.BYTES_PER_ELEMENT) as never;
  };
  const begin = (name: keyof NativeCuda, device?: number): void => {
    calls.push(name);
    if (failing[name] !== undefined) throw failing[name];
    if (device !== undefined) startedDevices.add(device);
  };
  const make = (device: number, pointer: bigint, bytes: Uint8Array<ArrayBuffer>): NativeMemory => {
    const memory = {} as NativeMemory;
    memories.set(memory, { pointer, bytes, device });
    return memory;
  };

  const cuda: NativeCuda = {
    info: () => {
      begin('info');
      const found = { built: true, runtimeVersion: 13000, driverVersion: 13000, minimumDriver: 'r580' };
      return { ...found, devices: [gpu], ...info };
    },
    takeWarning: () => {
      const first = !warned;
      warned = true;
      return first;
    },
    start: (device) => begin('start', device),
    isStarted: (device) => startedDevices.has(device),
    costs: (device) => {
      begin('costs', device);
      return { upload: 5e10, download: 5e10, staging: 1e10, launch: 1e-5 };
    },
    softmax: (device, x, out, outer, k, inner) => {
      begin('softmax', device);
      cpu.softmax(x, out, outer, k, inner, 1);
    },
    rowMax: (device, x, max, argmax, outer, k, inner) => {
      begin('rowMax', device);
      cpu.rowMax(x, max, argmax, outer, k, inner, 1);
    },
    softmaxJacobian: (device, x, out, rows, k) => {
      begin('softmaxJacobian', device);
      cpu.softmaxJacobian(x, out, rows, k, 1);
    },
    allocate: (device, bytes) => {
      begin('allocate', device);
      const pointer = nextPointer;
      nextPointer += BigInt(bytes + 512 - (bytes % 256));
      return make(device, pointer, new Uint8Array(bytes));
    },
    fromPointer: (device, pointer, bytes) => {
      begin('fromPointer', device);
      for (const memory of memories.values()) {
        const offset = Number(pointer - memory.pointer);
        if (offset < 0 || offset + bytes > memory.bytes.length) continue;
        return make(device, pointer, memory.bytes.subarray(offset, offset + bytes));
      }
      throw nativeError(17, `cudaErrorInvalidDevicePointer of ${bytes} bytes`);
    },
    free: (memory) => {
      begin('free');
      memories.delete(memory);
    },
    pointer: (memory) => memories.get(memory)!.pointer,
    upload: (memory, array) => {
      begin('upload');
      bytesOf(memory).set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    },
    downloadSync: (memory, array, length) => {
      begin('downloadSync');
      fill(array, bytesOf(memory), length);
    },
    // oxlint-disable-next-line typescript/promise-function-async -- the native function too throws at once what it refuses
    download: (memory, array) => {
      begin('download');
      fill(array, bytesOf(memory), array.length);
      return Promise.resolve();
    },
    synchronize: async (device) => {
      begin('synchronize', device);
      await Promise.resolve();
    },
    tensorSoftmax: (x, out, dtype, outer, k, inner) => {
      begin('tensorSoftmax');
      cpu.softmax(view(x, dtype), view(out, dtype), outer, k, inner, 1);
    },
    tensorRowMax: (x, max, argmax, dtype, outer, k, inner) => {
      begin('tensorRowMax');
      const indices = argmax === undefined ? undefined : view(argmax, 2);
      cpu.rowMax(view(x, dtype), view(max, dtype), indices, outer, k, inner, 1);
    },
    tensorSoftmaxJacobian: (x, out, dtype, rows, k) => {
      begin('tensorSoftmaxJacobian');
      cpu.softmaxJacobian(view(x, dtype), view(out, dtype), rows, k, 1);
    },
    allocatePinned: (dtype, length): FloatArray | Int32Array | undefined => {
      begin('allocatePinned', 0);
      return takesMemory ? new arrayTypes[dtype](length) : undefined;
    },
  };
  const live = (): number => [...memories.values()].reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  return { cuda, calls, live, failing };
}

/** The library over a fake GPU, as a process that has not used it yet; `isa` is what it takes the CPU for. */
export async function libraryWith(fake: Fake, isa?: string): Promise<typeof library> {
  vi.resetModules();
  const info = cpu.cpuInfo();
  const cpuInfo = (): typeof info => ({ ...info, isa: isa ?? info.isa });
  vi.doMock('../../lib/binding.ts', () => ({ native: () => ({ ...cpu, cpuInfo, cuda: fake.cuda }) }));
  return import('../../lib/index.ts');
}
