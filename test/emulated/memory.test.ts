// What the library holds of a GPU's memory: as much as it uses, and for a moment as much as it has just used.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { native, type NativeMemory } from '../../lib/binding.ts';
import { collectGarbage } from '../support/garbage.ts';
import { beginAnew, emulator, freeMemory, libraryOn, nothingLive, type Library } from './machine.ts';

/** What the pool may keep of unused memory. */
const kept = 32 << 20;
const megabytes = (count: number): number[] => [count, (1 << 20) / Float32Array.BYTES_PER_ELEMENT];

let library: Library;
let all: number;
beforeEach(async () => {
  library = await libraryOn();
  all = freeMemory();
});
afterAll(async () => {
  await libraryOn();
});

/** Waits, as freed memory is given back some time later, without a call of the program's. */
async function given(least: number): Promise<void> {
  await vi.waitFor(() => expect(all - freeMemory()).toBeLessThanOrEqual(least), { timeout: 20_000 });
}

describe('an environment that ends on the main thread', () => {
  it('leaves nothing behind, and neither do those that follow it', async () => {
    for (let round = 0; round < 3; round++) {
      const device = library.cudaDevice();
      const [tensor, other] = [device.tensor(new Float32Array(1000)), device.empty(megabytes(40))];
      expect(library.softmax(tensor).dataSync()[0]).toBe(Math.fround(1 / 1000));
      await tensor.data();
      other.dispose();
      beginAnew();
      expect(emulator.live()).toEqual(nothingLive);
      expect(all - freeMemory()).toBe(0);
      expect(() => tensor.dataSync()).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
    }
    const tensor = library.cudaDevice().tensor(new Float32Array(1000));
    tensor.dispose();
    expect(emulator.live().device).toEqual(nothingLive.device);
  });
});

describe('an environment that ends while the process does', () => {
  it('calls CUDA no more', () => {
    const program = fileURLToPath(new URL('programs/ends-in-exit.mjs', import.meta.url));
    const { status, stderr } = spawnSync(process.execPath, [program], { encoding: 'utf8', timeout: 60_000 });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});

describe('page-locked memory', () => {
  it('starts no other GPU than the one that is in use', async () => {
    library = await libraryOn({ devices: 2 });
    await library.cudaDevice(1).synchronize();
    library.allocPinned('float32', 10);
    expect([0, 1].map((gpu) => native().cuda.isStarted(gpu))).toEqual([false, true]);
  });
});

describe('a call in pieces for which there is too little memory', () => {
  const long = 300_001;
  const longRows = Float32Array.from({ length: 3 * long }, (_, i) => (i * 7919) % 17);
  const few = longRows.subarray(0, 600);
  it.each<[string, number, (library: Library, device: 'cpu' | 'cuda') => (Float32Array | Int32Array)[]]>([
    ['softmax', 3 << 20, ({ softmax }, device) => [softmax(longRows, { shape: [3, long], device })]],
    [
      'rowMax',
      3 << 20,
      ({ rowMax }, device) => {
        const { max, argmax } = rowMax(longRows, { shape: [3, long], device });
        return [max, argmax];
      },
    ],
    ['softmaxJacobian', 1 << 20, ({ softmaxJacobian }, device) => [softmaxJacobian(few, { device })]],
  ])('has one piece of %s on the GPU at a time', async (_name, memory, call) => {
    library = await libraryOn({ memory });
    const expected = call(library, 'cpu');
    for (const [i, result] of call(library, 'cuda').entries()) {
      expect(Buffer.from(result.buffer).equals(Buffer.from(expected[i]!.buffer))).toBe(true);
    }
    expect(emulator.live().device.count).toBe(0);
  });
});

describe('memory whose handle is gone', () => {
  it('is freed once it has been read', async () => {
    const { cuda } = native();
    await collectGarbage();
    const { count } = emulator.live().device;
    const values = Float32Array.from({ length: 1000 }, (_, i) => i);
    const read = async (): Promise<Float32Array> => {
      const array = new Float32Array(values.length);
      let memory: NativeMemory | undefined = cuda.allocate(0, values.byteLength);
      cuda.upload(memory, values);
      const done = cuda.download(memory, array);
      memory = undefined;
      await done;
      return array;
    };
    emulator.delay('cudaStreamWaitEvent', 300);
    const arrays = Promise.all([read(), read(), read()]);
    let turns = 0;
    await collectGarbage(() => turns++ === 3);
    expect(emulator.live().device.count).toBe(count + 3);
    for (const array of await arrays) expect(array).toEqual(values);
    expect(emulator.live().device.count).toBe(count);
  });
});

describe('freed memory', () => {
  it('is given back, without a call that waits for the GPU', async () => {
    const device = library.cudaDevice();
    const tensors = [20, 50].map((count) => device.empty(megabytes(count)));
    expect(all - freeMemory()).toBe(70 << 20);
    tensors[1]!.dispose();
    await given((20 << 20) + kept);
    expect(all - freeMemory()).toBeGreaterThanOrEqual(20 << 20);
    tensors[0]!.dispose();
    await given(kept);
  });

  it('is used again where it is soon needed again', async () => {
    const device = library.cudaDevice();
    let most = 0;
    for (let round = 0; round < 10; round++) {
      device.empty(megabytes(40)).dispose();
      // After this wait nothing is used, and a pool as CUDA makes it would have given everything back.
      await device.synchronize();
      most = Math.max(most, all - freeMemory());
    }
    expect(most).toBe(40 << 20);
    await given(kept);
  });

  it('of a call on arrays of the host is given back too', async () => {
    // A row is never cut, so that all of it is on the GPU.
    const x = new Float32Array(10 << 20);
    const y = library.softmax(x, { device: 'cuda' });
    expect(y[x.length - 1]).toBe(Math.fround(1 / x.length));
    await given(kept);
    expect(emulator.live().device.count).toBe(0);
  });

  it('of small tensors stays, for the next ones', async () => {
    const device = library.cudaDevice();
    device.empty(megabytes(20)).dispose();
    await device.synchronize();
    expect(all - freeMemory()).toBe(20 << 20);
  });
});
