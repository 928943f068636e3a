// Test projects: `default` for what is independent of the instruction set, one `isa-<name>` for every instruction
// set this processor has (test/isa runs once in each, with SOFTMAX_NATIVE_ISA forcing it), and `long`.
import { existsSync, readFileSync } from 'node:fs';
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

export default defineConfig({
  test: {
    // A crash of native code must end one test file, not the run: processes, not threads.
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'default',
          include: ['test/**/*.test.ts'],
          exclude: ['test/isa/**', 'test/long/**'],
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
