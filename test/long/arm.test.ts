// The whole library builds for 64-bit Arm without a warning, its kernels keep the rule about weak symbols there, and, run on an
// emulated processor, they give the same bits as everywhere else.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const golden = readFileSync(path.join(root, 'test/native/golden_hashes.txt'), 'utf8');

const compiler = 'aarch64-linux-gnu-g++';
const emulator = 'qemu-aarch64-static';
const missing = ['cmake', compiler, emulator].filter(
  (program) => spawnSync(program, ['--version']).status !== 0,
);
if (missing.length > 0) console.warn(`test/long/arm: skipped, ${missing.join(' and ')} not installed`);

describe.skipIf(missing.length > 0)('64-bit Arm', () => {
  let build = '';
  // Where the emulated program finds its loader and libraries: the folder that holds lib/libc.so.6.
  let libraries = '';
  const headers = ['node-api-headers/include', 'node-addon-api'].map((name) =>
    path.join(root, 'node_modules', name),
  );

  beforeAll(() => {
    build = mkdtempSync(path.join(tmpdir(), 'softmax-native-arm-'));
    const options = {
      CMAKE_SYSTEM_NAME: 'Linux',
      CMAKE_SYSTEM_PROCESSOR: 'aarch64',
      CMAKE_CXX_COMPILER: compiler,
      CMAKE_JS_INC: headers.join(';'),
      SOFTMAX_CUDA: 'OFF',
      SOFTMAX_WERROR: 'ON',
    };
    const defines = Object.entries(options).map(([name, value]) => `-D${name}=${value}`);
    execFileSync('cmake', ['-S', root, '-B', build, ...defines], { stdio: 'pipe' });
    execFileSync('cmake', ['--build', build, '--parallel', '2'], { stdio: 'pipe' });
    const libc = execFileSync(compiler, ['-print-file-name=libc.so.6'], { encoding: 'utf8' }).trim();
    libraries = path.dirname(path.dirname(libc));
  });

  afterAll(() => {
    rmSync(build, { recursive: true });
  });

  it('has an addon', () => {
    const machine = readFileSync(path.join(build, 'softmax_native.node')).readUInt16LE(18);
    expect(machine).toBe(183); // EM_AARCH64
  });

  it('has NEON kernels that define no weak symbol', () => {
    const object = path.join(build, 'CMakeFiles/softmax_cpu.dir/native/cpu/kernels_neon.cpp.o');
    const types =
      execFileSync('aarch64-linux-gnu-nm', [object], { encoding: 'utf8' }).match(/ [A-Za-z] /g) ?? [];
    expect(types).toContain(' t ');
    expect(types.filter((type) => /[WwVvu]/.test(type))).toEqual([]);
  });

  it.each(['scalar', 'neon'])('has the golden hashes, which the %s kernels meet row by row', (isa) => {
    const { status, stdout, stderr } = spawnSync(
      emulator,
      ['-L', libraries, path.join(build, 'programs/golden_hashes')],
      {
        encoding: 'utf8',
        env: { SOFTMAX_NATIVE_ISA: isa },
      },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe(golden);
    expect(status).toBe(0);
  });
});
