// Two GPUs in one process: each has its tensors, and they do not mix. The emulated machine gets a second one for it; a real
// one with a single GPU skips this.
import { afterAll, describe, expect, it } from 'vitest';
import { native } from '../../lib/binding.ts';
import {
  allocPinned,
  cudaDevice,
  deviceInfo,
  DeviceTensor,
  rowMax,
  setDefaultDevice,
  softmax,
  softmaxJacobian,
} from '../../lib/index.ts';
import { expectSameBits } from '../support/bits.ts';
import { expectRefusal, outOfRange, wrongType } from '../unit/support.ts';

interface Emulator {
  configure(machine: { devices: number }): void;
  findings(): string[];
}

// Before anything looks for GPUs. The first import of test/cuda/support.ts would.
const { emulator, cuda: controls } = native() as unknown as {
  emulator?: Emulator;
  cuda: { currentDevice(): number; setCurrentDevice(device: number): void };
};
emulator?.configure({ devices: 2 });

const { cuda } = deviceInfo();
const count = cuda.available ? cuda.devices.filter(({ usable }) => usable).length : 0;
if (count < 2) console.warn(`test/cuda: two GPUs are not tested, as there are ${count}`);

if (emulator !== undefined) {
  afterAll(() => {
    const findings = emulator.findings();
    if (findings.length > 0) throw new Error(`the emulated device found:\n${findings.join('\n')}`);
  });
}

describe.skipIf(count < 2)('with two GPUs', () => {
  const x = new Float32Array(3 * 500).map((_, i) => Math.sin(i));
  const shape = [3, 500];
  const expected = softmax(x, { shape, device: 'cpu' });

  it('both are listed, and one is told from the other', () => {
    expect(cuda.available && cuda.devices.map(({ device }) => device)).toEqual(['cuda:0', 'cuda:1']);
    expect([cudaDevice().index, cudaDevice(0).index, cudaDevice(1).index]).toEqual([0, 0, 1]);
    expect(cudaDevice(1)).not.toBe(cudaDevice(0));
  });

  it.each(['cuda', 'cuda:0', 'cuda:1'] as const)('arrays of the host are computed on %s', (device) => {
    expectSameBits(softmax(x, { shape, device }), expected, device);
  });

  it('tensors are computed where they are, in any order', async () => {
    const pairs = [0, 1, 1, 0].map((index) => {
      const tensor = cudaDevice(index).tensor(x, { shape });
      return [tensor, softmax(tensor)] as const;
    });
    for (const [tensor, y] of pairs) {
      expect(y.device).toBe(tensor.device);
      const later = y.data();
      tensor.dispose();
      expectSameBits(y.dataSync(), expected, y.device);
      y.dispose();
      expectSameBits(await later, expected, `${y.device}, later`);
    }
    await Promise.all([cudaDevice(0).synchronize(), cudaDevice(1).synchronize()]);
  });

  it.skipIf(emulator === undefined).each([0, 1])(
    'the device that other code has made current, %i, stays so whatever is called',
    async (current) => {
      controls.setCurrentDevice(current);
      for (const index of [0, 1]) {
        const device = `cuda:${index}` as const;
        const gpu = cudaDevice(index);
        const calls: [string, () => unknown][] = [
          ['softmax', () => softmax(x, { shape, device })],
          ['rowMax', () => rowMax(x, { shape, device })],
          ['softmaxJacobian', () => softmaxJacobian(x.subarray(0, 30), { shape: [3, 10], device })],
          ['a call that is refused', () => expect(() => gpu.empty([2 ** 50])).toThrow(/MemoryAllocation/)],
          ['synchronize', async () => gpu.synchronize()],
          ['allocPinned', () => allocPinned('float32', 10)],
        ];
        for (const [name, call] of calls) {
          const pending = call();
          expect(controls.currentDevice(), `${name}, ${device}`).toBe(current);
          await pending;
          expect(controls.currentDevice(), `after ${name}, ${device}`).toBe(current);
        }
        const tensor = gpu.tensor(x, { shape });
        const results = [softmax(tensor), ...Object.values(rowMax(tensor)).slice(0, 2)] as DeviceTensor[];
        results.push(DeviceTensor.fromPointer(tensor.pointer, { shape, device }));
        expect(controls.currentDevice(), `tensors, ${device}`).toBe(current);
        const later = tensor.data();
        expectSameBits(results[0]!.dataSync(), expected, device);
        for (const each of [tensor, ...results]) each.dispose();
        expect(controls.currentDevice(), `tensors read and freed, ${device}`).toBe(current);
        expectSameBits(await later, x, device);
        expect(controls.currentDevice(), `after data(), ${device}`).toBe(current);
      }
      controls.setCurrentDevice(0);
    },
  );

  it('a tensor is computed where it is, and may be told so', () => {
    const tensor = cudaDevice(1).tensor(x, { shape });
    setDefaultDevice('cuda:0');
    for (const device of [undefined, 'auto', 'cuda', 'cuda:1'] as const) {
      const y = softmax(tensor, { device });
      const { max, argmax } = rowMax(tensor, { device });
      const jacobian = softmaxJacobian(tensor, { device });
      for (const result of [y, max, argmax, jacobian]) expect(result.device, device).toBe('cuda:1');
      expectSameBits(y.dataSync(), expected, String(device));
      for (const result of [y, max, argmax, jacobian]) result.dispose();
    }
    setDefaultDevice('auto');
    for (const device of ['cpu', 'cuda:0', 'cuda:2', 'gpu'] as const) {
      for (const call of [softmax, rowMax, softmaxJacobian] as (typeof softmax)[]) {
        expectRefusal(
          () => call(tensor, { device: device as 'cpu' }),
          outOfRange(/^Expected 'cuda:1', where x is \(.*\), for device but received '/),
        );
      }
    }
    tensor.dispose();
  });

  it('tensors of both do not mix', () => {
    const [a, b] = [0, 1].map((index) => cudaDevice(index).tensor(x, { shape }));
    const other = wrongType(
      /^Expected a tensor of float32 on cuda:0 for out but received DeviceTensor .*cuda:1/,
    );
    expectRefusal(() => softmax(a!, { out: b! }), other);
    expectRefusal(() => softmaxJacobian(a!, { out: b! }), other);
    const max = cudaDevice(1).empty([3]);
    expectRefusal(
      () => rowMax(a!, { out: { max } }),
      wrongType(/^Expected a tensor of float32 on cuda:0 for out.max/),
    );
    expect(() => softmax(a!, { device: 'cuda:1' })).toThrow(RangeError);
    expect(() => DeviceTensor.fromPointer(b!.pointer, { shape, device: 'cuda:0' })).toThrow(
      /cudaErrorInvalidDevicePointer/,
    );
    expectSameBits(b!.dataSync(), x, 'the other tensor');
    for (const tensor of [a!, b!, max]) tensor.dispose();
  });
});
