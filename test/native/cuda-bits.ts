// The program that compares the kernels' results with those of the CPU, on an emulated device.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from 'vitest';

export const program = (name: string): string =>
  new URL(`../../build/programs/${name}`, import.meta.url).pathname;

const run = promisify(execFile);

/** What was launched. */
export interface Launched {
  readonly regimes: ReadonlySet<string>;
  readonly kernels: readonly string[];
}

/** @param name - of a device, or `sm_80 with 2 multiprocessors`, where blocks take more than one round of what they loop over */
export async function expectBitsOnEmulated(name: string): Promise<Launched> {
  const [device = '', count = '0'] = name.split(' with ');
  const { stdout, stderr } = await run(program('cuda_bits_emulated'), ['quick'], {
    env: {
      ...process.env,
      SOFTMAX_EMULATED_DEVICE: device,
      SOFTMAX_EMULATED_MULTIPROCESSORS: String(Number.parseInt(count, 10)),
    },
  });
  expect(stderr).toBe('');
  const [summary = '', ...lines] = stdout.trim().split('\n');
  console.log(summary);
  expect(summary).toMatch(/: [1-9]\d{2,} comparisons, 0 failed$/);
  // Also where two threads launch a kernel with more and less shared memory at once.
  expect(lines).toContain('  two threads');
  const regimes = lines.flatMap((line) => /^ {2}regime (.*):/.exec(line)?.[1] ?? []);
  const kernels = lines.flatMap((line) => /^ {2}kernel (.*): \d+ launches$/.exec(line)?.[1] ?? []);
  return {
    regimes: new Set(regimes.map((regime) => regime.replace(/ x\d+$/, ''))),
    kernels: kernels.map((kernel) => kernel.replaceAll('softmax_native::cuda::', '').replaceAll('> >', '>>')),
  };
}
