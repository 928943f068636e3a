// GPUs of which none can be used: a process hears of it once.
import { expect, it, vi } from 'vitest';
import { emulator, errors, libraryOn } from './machine.ts';

const x = Float32Array.of(1, 2, 3, 4);
const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});

it('one of two that cannot be used is no reason to warn', async () => {
  const { deviceInfo, softmax } = await libraryOn({ devices: 2 });
  emulator.inject({ call: 'cudaGetDeviceProperties', error: errors.cudaErrorUnknown });
  expect(deviceInfo().cuda).toMatchObject({
    available: true,
    devices: [{ usable: false }, { usable: true }],
  });
  expect(softmax(x, { device: 'cuda' })).toEqual(softmax(x, { device: 'cpu' }));
  expect(warn).not.toHaveBeenCalled();
});

it('two of two are, once', async () => {
  for (let time = 0; time < 2; time++) {
    const { cudaDevice, deviceInfo, softmax } = await libraryOn({ devices: 2 });
    for (const nth of [1, 2]) {
      emulator.inject({ call: 'cudaGetDeviceProperties', nth, error: errors.cudaErrorUnknown });
    }
    const reason =
      /^cuda:0, .*cannot be used: .*cudaErrorUnknown.* cuda:1, .*cannot be used: .*cudaErrorUnknown/;
    expect(deviceInfo().cuda).toMatchObject({
      available: false,
      reason: expect.stringMatching(reason) as string,
    });
    expect(() => cudaDevice()).toThrow(expect.objectContaining({ code: 'ERR_CUDA_UNAVAILABLE' }));
    expect(softmax(x)).toEqual(softmax(x, { device: 'cpu' }));
  }
  const text = expect.stringMatching(/^No GPU is used: cuda:0, /) as string;
  expect(warn.mock.calls).toEqual([[text, { code: 'SOFTMAX_CUDA_UNUSABLE' }]]);
});
