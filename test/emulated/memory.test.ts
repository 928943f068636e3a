// What the library holds of a GPU's memory: as much as it uses, and for a moment as much as it has just used.
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { native } from '../../lib/binding.ts';
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

describe('page-locked memory', () => {
  it('starts no other GPU than the one that is in use', async () => {
    library = await libraryOn({ devices: 2 });
    await library.cudaDevice(1).synchronize();
    library.allocPinned('float32', 10);
    expect([0, 1].map((gpu) => native().cuda.isStarted(gpu))).toEqual([false, true]);
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
