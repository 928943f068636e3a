// What the built files hold. A template or inline function compiled for AVX-512 that reaches the linker as a weak symbol
// may be picked for code that runs on every processor, which then stops with an illegal instruction: so the
// instruction-set files must hold none, and nothing of the C++ library, and no initialiser that runs at load.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const objects = path.join(root, 'build/CMakeFiles/softmax_cpu.dir/native/cpu');
const addon = path.join(root, 'build/Release/softmax_native.node');

const isElf = process.platform === 'linux';
const hasBinutils =
  spawnSync('nm', ['--version']).status === 0 && spawnSync('readelf', ['--version']).status === 0;
if (!isElf || !hasBinutils)
  console.warn('test/build/binary: skipped, it needs an ELF platform with nm and readelf');

function symbols(file: string, ...options: string[]): { type: string; name: string }[] {
  return execFileSync('nm', ['-C', ...options, file], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => /^(?:[0-9a-f]+)?\s+(\S) (.*)$/.exec(line))
    .map((match) => ({ type: match?.[1] ?? '', name: match?.[2] ?? '' }));
}

describe.skipIf(!isElf || !hasBinutils)('instruction-set objects', () => {
  const files =
    isElf && existsSync(objects) ? readdirSync(objects).filter((name) => /^kernels_.*\.o$/.test(name)) : [];

  it('are those of this architecture', () => {
    const expected = { x64: ['avx2', 'avx512', 'scalar'], arm64: ['neon', 'scalar'] }[
      process.arch as string
    ] ?? ['scalar'];
    expect(files.toSorted()).toEqual(expected.map((isa) => `kernels_${isa}.cpp.o`));
  });

  it.each(files)('%s holds functions and no weak symbol', (file) => {
    const all = symbols(path.join(objects, file));
    expect(all.filter(({ type }) => type === 'T' || type === 't').length).toBeGreaterThan(0);
    expect(all.filter(({ type }) => 'WwVvu'.includes(type))).toEqual([]);
  });

  it.each(files.filter((file) => file.includes('avx')))('%s uses nothing of the C++ library', (file) => {
    expect(
      symbols(path.join(objects, file)).filter(({ name }) => /\bstd::|__gnu_cxx::|operator new/.test(name)),
    ).toEqual([]);
  });

  it.each(files)('%s has no initialiser that runs at load', (file) => {
    const sections = execFileSync('readelf', ['-SW', path.join(objects, file)], { encoding: 'utf8' });
    expect(sections).toContain('.text');
    expect(sections).not.toMatch(/\.init_array|\.ctors/);
  });
});

describe.skipIf(!isElf || !hasBinutils)('softmax_native.node', () => {
  it('exports the two entry points of Node-API and nothing else', () => {
    const names = symbols(addon, '-D', '--defined-only').map(({ name }) => name);
    expect(names.toSorted()).toEqual(['napi_register_module_v1', 'node_api_module_get_api_version_v1']);
  });

  it('needs no C++ library and no CUDA library, finds a libgomp beside it, and stays loaded', () => {
    const dynamic = execFileSync('readelf', ['-dW', addon], { encoding: 'utf8' });
    const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1]);
    expect(needed).toContain('libc.so.6');
    expect(
      needed.filter(
        (name) => !/^(libc|libm|libgcc_s|libpthread|libgomp|libomp|ld-linux.*)\.so/.test(name ?? ''),
      ),
    ).toEqual([]);
    expect(dynamic).toMatch(/\(RUNPATH\).*\[\$ORIGIN\]/);
    expect(dynamic).toMatch(/FLAGS_1.*NODELETE/);
  });
});
