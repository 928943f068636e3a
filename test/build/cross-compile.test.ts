// The NEON kernels compile without a warning for 64-bit Arm, and keep the rule about weak symbols there.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const prefix = process.arch === 'arm64' ? '' : 'aarch64-linux-gnu-';
const hasCompiler = spawnSync(`${prefix}g++`, ['--version']).status === 0;
if (!hasCompiler) console.warn(`test/build/cross-compile: skipped, ${prefix}g++ is not installed`);

it.skipIf(!hasCompiler)('kernels_neon.cpp compiles for 64-bit Arm and defines no weak symbol', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'softmax-native-neon-'));
  try {
    const object = path.join(folder, 'kernels_neon.o');
    const source = path.join(root, 'native/cpu/kernels_neon.cpp');
    const flags = ['-std=c++17', '-O3', '-fPIC', '-ffp-contract=off', '-Wall', '-Wextra', '-Werror'];
    execFileSync(`${prefix}g++`, [...flags, '-I', path.join(root, 'native'), '-c', source, '-o', object], {
      stdio: 'pipe',
    });

    const types = execFileSync(`${prefix}nm`, [object], { encoding: 'utf8' }).match(/ [A-Za-z] /g) ?? [];
    expect(types).toContain(' t ');
    expect(types.filter((type) => /[WwVvu]/.test(type))).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
