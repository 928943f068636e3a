// Compilers that cannot build the library are refused by a sentence that says so, before anything is compiled.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What CMake says where it is told, instead of finding out, that this is the compiler and the system. */
function refusal(compiler: string, system: string): string {
  const build = mkdtempSync(path.join(tmpdir(), 'softmax-native-compiler-'));
  try {
    const options = {
      CMAKE_CXX_COMPILER_ID: compiler,
      CMAKE_CXX_COMPILER_ID_RUN: 'ON',
      CMAKE_CXX_COMPILER_VERSION: '19.44',
      CMAKE_CXX_COMPILER_FORCED: 'ON',
      CMAKE_SYSTEM_NAME: system,
    };
    const defines = Object.entries(options).map(([name, value]) => `-D${name}=${value}`);
    const { status, stderr } = spawnSync('cmake', ['-S', root, '-B', build, ...defines], {
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    return stderr.replaceAll(/\s+/g, ' ');
  } finally {
    rmSync(build, { recursive: true });
  }
}

it.each([
  ['MSVC', 'Windows', 'softmax-native is built with g++ or clang; MSVC is not supported yet.'],
  [
    'Clang',
    'Windows',
    'softmax-native cannot be built for Windows yet; under WSL the build for Linux works.',
  ],
  ['Intel', 'Linux', 'softmax-native is built with g++ or clang; Intel is not supported yet.'],
])('%s on %s', (compiler, system, sentence) => {
  expect(refusal(compiler, system)).toContain(sentence);
});
