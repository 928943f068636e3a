// The tests that use the native library in their own process, with the libraries that test/sanitizers/run.mjs builds:
// the portable kernels, in which AddressSanitizer sees every access (in those of vector instructions it does not see masked
// loads and stores), the best ones, and the host's side of the GPUs over emulated ones.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('../..', import.meta.url));
const library = (folder: string): string => `${root}build-sanitized/${folder}/softmax_native.node`;

const onCpu = ['test/unit/**/*.test.ts', 'test/fuzz/**/*.test.ts', 'test/conformance/**/*.test.ts'];
// What measures the memory of a process, or takes gigabytes of it.
const exclude = ['test/unit/memory.test.ts', 'test/unit/huge.test.ts'];

export default defineConfig({
  root,
  test: {
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    setupFiles: [fileURLToPath(new URL('is-sanitized.ts', import.meta.url))],
    projects: [
      {
        extends: true,
        test: {
          name: 'sanitized-scalar',
          include: onCpu,
          exclude,
          env: { SOFTMAX_NATIVE_LIBRARY: library('Release'), SOFTMAX_NATIVE_ISA: 'scalar' },
        },
      },
      {
        extends: true,
        test: {
          name: 'sanitized-best',
          include: onCpu,
          exclude,
          env: { SOFTMAX_NATIVE_LIBRARY: library('Release') },
        },
      },
      {
        extends: true,
        test: {
          name: 'sanitized-emulated',
          include: ['test/emulated/**/*.test.ts', 'test/cuda/**/*.test.ts', 'test/fuzz/**/*.test.ts'],
          // The bits of all kernels take minutes so, and processes of their own say nothing here.
          exclude: ['test/emulated/memory.test.ts', 'test/cuda/process.test.ts', 'test/cuda/bits.test.ts'],
          env: { SOFTMAX_NATIVE_LIBRARY: library('emulated'), SOFTMAX_EMULATED_DEVICE: 'sm_90' },
        },
      },
    ],
  },
});
