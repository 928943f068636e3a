// Test projects: `default` for what is independent of the instruction set, one `isa-<name>` for every instruction
// set this processor has (test/isa runs once in each, with SOFTMAX_NATIVE_ISA forcing it), one `emulated-<architecture>`
// for GPUs of four generations as test/emulator plays them (test/cuda and test/emulated), `gpu` for the GPUs of this
// machine (test/cuda), and `long`. What takes long and adds little to one instruction set and GPU is left to
// `long-isa-<name>` and `long-emulated-<architecture>`.
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

// Instruction sets give the same bits, which test/isa/golden.test.ts says: accuracy, and bits in every place and batch,
// are tried on the last of them, and on the others in the long tests only.
const ofOneIsa = ['accuracy', 'bits'].map((name) => `test/isa/${name}.test.ts`);
const wholeIsa = isas.at(-1);
const otherIsas = isas.filter((isa) => isa !== wholeIsa);

// All tests run on one of these GPUs. What fails, how that is met, what memory is held, which thread computes and how a
// process ends depend on the regimes hardly at all; ptx.test.ts says itself which GPU it is for.
const wholeDevice = 'sm_90';
const onOneDevice = [
  ...['failures', 'in-place', 'memory', 'ptx'].map((name) => `test/emulated/${name}.test.ts`),
  ...['process', 'promises'].map((name) => `test/cuda/${name}.test.ts`),
];
// Where there are no clusters and little shared memory, regimes differ most; the kernels' own bits on every GPU are
// in test/native/cuda.test.ts.
const otherRegimes = 'sm_75';
const ofRegimes = [
  'test/cuda/bits.test.ts',
  'test/cuda/host-arrays.test.ts',
  'test/emulated/multiprocessors.test.ts',
];
const excludedOn = (device: string) =>
  device === wholeDevice ? [] : device === otherRegimes ? onOneDevice : [...onOneDevice, ...ofRegimes];
const emulatedOn = (device: string) => ({
  SOFTMAX_NATIVE_LIBRARY: emulatedLibrary,
  SOFTMAX_EMULATED_DEVICE: device,
});

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
          exclude: isa === wholeIsa ? [] : ofOneIsa,
          env: { SOFTMAX_NATIVE_ISA: isa },
        },
      })),
      ...emulatedDevices.map((device) => ({
        extends: true as const,
        test: {
          name: `emulated-${device}`,
          include: ['test/cuda/**/*.test.ts', 'test/emulated/**/*.test.ts'],
          exclude: excludedOn(device),
          env: emulatedOn(device),
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
      ...otherIsas.map((isa) => ({
        extends: true as const,
        test: { name: `long-isa-${isa}`, include: ofOneIsa, env: { SOFTMAX_NATIVE_ISA: isa } },
      })),
      ...emulatedDevices
        .filter((device) => device !== wholeDevice && device !== otherRegimes)
        .map((device) => ({
          extends: true as const,
          test: { name: `long-emulated-${device}`, include: ofRegimes, env: emulatedOn(device) },
        })),
    ],
  },
});
