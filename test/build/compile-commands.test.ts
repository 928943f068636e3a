// How the build compiles each file: contraction off everywhere, instruction-set flags on the files named after the
// instruction set only, OpenMP on parallel.cpp only.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const commands = (
  JSON.parse(readFileSync(path.join(root, 'build/compile_commands.json'), 'utf8')) as {
    command: string;
    file: string;
  }[]
).map(({ command, file }) => ({ file: path.relative(root, file), flags: command.split(/\s+/) }));

const isaFlags: Record<string, string[]> = {
  'native/cpu/kernels_avx2.cpp': ['-mavx2', '-mfma'],
  'native/cpu/kernels_avx512.cpp': ['-mavx512bw', '-mavx512dq', '-mavx512f', '-mavx512vl', '-mfma'],
};

it('every file is compiled with contraction off', () => {
  expect(commands.map(({ file }) => file)).toContain('native/cpu/kernels_scalar.cpp');
  for (const { file, flags } of commands) {
    // A .cu file is also compiled as C++, for the emulated device.
    if (file.endsWith('.cu') && flags[0]?.endsWith('nvcc')) expect(flags, file).toContain('--fmad=false');
    const contraction = flags.filter((flag) => flag.includes('ffp-contract'));
    expect(contraction, file).toHaveLength(1);
    expect(contraction[0], file).toContain('-ffp-contract=off');
  }
});

it('only the instruction-set files are compiled for more than the baseline', () => {
  for (const { file, flags } of commands) {
    expect(flags.filter((flag) => flag.startsWith('-m')).toSorted(), file).toEqual(isaFlags[file] ?? []);
  }
});

it('only parallel.cpp is compiled with OpenMP', () => {
  const withOpenMp = commands.filter(({ flags }) => flags.some((flag) => flag.includes('openmp')));
  expect(withOpenMp.map(({ file }) => file)).toEqual(['native/cpu/parallel.cpp']);
});
