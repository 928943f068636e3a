// Which files may be the native library, by platform, architecture and C library.
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { candidates, libcOf } from '../../lib/loader.ts';

const map = (...files: string[]): string =>
  files.map((file) => `7f0c2a000000-7f0c2a026000 r--p 00000000 08:01 1234  ${file}\n`).join('');

describe('libcOf', () => {
  it.each([
    ['glibc', map('/usr/bin/node', '/lib/x86_64-linux-gnu/libc.so.6', '/lib64/ld-linux-x86-64.so.2')],
    ['musl', map('/usr/bin/node', '/usr/lib/libstdc++.so.6', '/lib/ld-musl-x86_64.so.1')],
    ['musl', map('/lib/ld-musl-aarch64.so.1', '[stack]')],
    ['glibc', map('/opt/ld-musl-cross/bin/node', '/lib/ld-linux-aarch64.so.1')],
    ['glibc', ''],
  ])('%s', (libc, text) => {
    expect(libcOf(text)).toBe(libc);
  });
});

describe('candidates', () => {
  it.each([
    ['linux', 'x64', 'glibc', 'linux-x64/softmax-native.glibc.node'],
    ['linux', 'arm64', 'glibc', 'linux-arm64/softmax-native.glibc.node'],
    ['linux', 'x64', 'musl', 'linux-x64/softmax-native.musl.node'],
    ['darwin', 'arm64', 'glibc', 'darwin-arm64/softmax-native.glibc.node'],
    ['win32', 'x64', 'glibc', 'win32-x64/softmax-native.glibc.node'],
  ] as const)('for %s %s %s are builds, then prebuilds/.../%s', (platform, arch, libc, prebuild) => {
    const root = path.resolve('package');
    expect(candidates(root, platform, arch, libc)).toEqual(
      ['build/Release/softmax_native.node', 'build/Debug/softmax_native.node', `prebuilds/${prebuild}`].map(
        (file) => path.join(root, file),
      ),
    );
  });
});
