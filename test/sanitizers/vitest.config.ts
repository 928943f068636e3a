// The tests that use the native library in their own process, with the libraries that test/sanitizers/run.mjs builds:
// the portable kernels, in which AddressSanitizer sees every access (in those of vector instructions it does not see masked
// loads and stores), the best ones, and the host's side of the GPUs over emulated ones.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('../..', import.meta.url));
const library = (folder: string): string => `${root}build-sanitized/${folder}/softmax_native.node`;

// Of the unit tests those that compute much, or what is refused.
const unit = '{errors,jacobian,property,rowMax,small,softmax}';
const onCpu = [
  `test/unit/${unit}.test.ts`,
  'test/promises/{memory,control}.test.ts',
  'test/fuzz/**/*.test.ts',
];
const fuzz = { SOFTMAX_FUZZ_SECONDS: '15' };

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
          env: { ...fuzz, SOFTMAX_NATIVE_LIBRARY: library('Release'), SOFTMAX_NATIVE_ISA: 'scalar' },
        },
      },
      {
        extends: true,
        test: {
          name: 'sanitized-best',
          include: onCpu,
          env: { ...fuzz, SOFTMAX_NATIVE_LIBRARY: library('Release') },
        },
      },
      {
        extends: true,
        test: {
          name: 'sanitized-emulated',
          // Tensors, and what is refused. All bits, large arrays and failures at every call take minutes so.
          include: [
            'test/emulated/{auto,drivers,promises,unusable}.test.ts',
            'test/cuda/{binding,device,promises,tensor}.test.ts',
            'test/fuzz/**/*.test.ts',
          ],
          env: { ...fuzz, SOFTMAX_NATIVE_LIBRARY: library('emulated'), SOFTMAX_EMULATED_DEVICE: 'sm_90' },
        },
      },
    ],
  },
});
