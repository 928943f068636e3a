// Test projects: `default` for what is independent of the instruction set, one `isa-<name>` for every instruction
// set this processor has (test/isa runs once in each, with SOFTMAX_NATIVE_ISA forcing it), one `emulated-<architecture>`
// for GPUs of four generations as test/emulator plays them (test/cuda and test/emulated), `gpu` for the GPUs of this
// machine (test/cuda), and `long`.
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// The instruction sets a build for this architecture holds, each with the processor flags it needs.
const buildIsas: Record<string, string[]> =
  process.arch === 'x64'
    ? {
        scalar: [],
        avx2: ['avx2', 'fma'],
        avx512: ['avx2', 'fma', 'avx512f', 'avx512bw', 'avx512vl', 'avx512dq'],
      }
    : process.arch === 'arm64'
      ? { scalar: [], neon: [] }
      : { scalar: [] };

const cpuinfo = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '';
const cpuFlags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(/\s+/));

const isas = Object.keys(buildIsas).filter((isa) => buildIsas[isa]?.every((flag) => cpuFlags.has(flag)));
for (const isa of Object.keys(buildIsas)) {
  if (!isas.includes(isa)) console.warn(`test/isa is not run for ${isa}: this processor does not have it`);
}

// A GPU without clusters and with little shared memory, one with much, one with clusters, and one with small clusters.
const emulatedDevices = ['sm_75', 'sm_80', 'sm_90', 'sm_120'];
const emulatedLibrary = fileURLToPath(new URL('build/emulated/softmax_native.node', import.meta.url));

export default defineConfig({
  test: {
    // A crash of native code must end one test file, not the run: processes, not threads.
    pool: 'forks',
    // Vitest itself would leave one processor idle, which is half of two; many tests wait for processes of their own.
    maxWorkers: availableParallelism(),
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'default',
          include: ['test/**/*.test.ts'],
          exclude: ['test/isa/**', 'test/long/**', 'test/cuda/**', 'test/emulated/**'],
        },
      },
      ...isas.map((isa) => ({
        extends: true as const,
        test: {
          name: `isa-${isa}`,
          include: ['test/isa/**/*.test.ts'],
          env: { SOFTMAX_NATIVE_ISA: isa },
        },
      })),
      ...emulatedDevices.map((device) => ({
        extends: true as const,
        test: {
          name: `emulated-${device}`,
          include: ['test/cuda/**/*.test.ts', 'test/emulated/**/*.test.ts'],
          // What fails, how that is met, and what memory is held depends on the regimes hardly at all; ptx.test.ts says
          // itself which GPU it is for.
          exclude:
            device === 'sm_90'
              ? []
              : ['failures', 'in-place', 'memory', 'ptx'].map((name) => `test/emulated/${name}.test.ts`),
          env: { SOFTMAX_NATIVE_LIBRARY: emulatedLibrary, SOFTMAX_EMULATED_DEVICE: device },
        },
      })),
      {
        extends: true,
        test: {
          name: 'gpu',
          include: ['test/cuda/**/*.test.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'long',
          include: ['test/long/**/*.test.ts'],
          testTimeout: 900_000,
          hookTimeout: 900_000,
        },
      },
    ],
  },
});
