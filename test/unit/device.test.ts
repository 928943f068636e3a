// deviceInfo where the library is loaded; where it is not, see test/lifecycle, and for GPUs placement.test.ts.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { deviceInfo } from '../../lib/index.ts';
import { defaultThreads } from '../../lib/threads.ts';

it('deviceInfo says what computes', () => {
  const info = deviceInfo();
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  expect(info).toEqual({
    backend: 'cpu',
    isa: expect.stringMatching(/^(scalar|avx2|avx512|neon)$/) as string,
    availableIsas: expect.arrayContaining(['scalar']) as string[],
    threads: defaultThreads(),
    passiveWait: expect.any(Boolean) as boolean,
    cuda: expect.objectContaining({ available: expect.any(Boolean) as boolean }) as object,
    defaultDevice: 'auto',
    version,
  });
});

it('deviceInfo gives objects of their own', () => {
  const { available } = deviceInfo().cuda;
  Object.assign(deviceInfo().cuda, { available: !available });
  expect(deviceInfo().cuda.available).toBe(available);
});
