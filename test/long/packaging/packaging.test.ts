// The npm package as its users get it: packed with its prebuilt binary, installed from the tarball in a clean folder
// without network, install scripts or compiler, loaded both ways, compiled against, and built from source.
import { type SpawnSyncReturns, execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const supported = process.platform === 'linux';
if (!supported) console.warn('test/long/packaging: skipped, prebuilds are made for Linux only');

// Without the variables by which npm tells its scripts about this project and how this run is configured.
const environment = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^npm_(package|lifecycle|config_local)|^SOFTMAX_NATIVE_|^NODE_PATH$/.test(name),
  ),
);

describe.skipIf(!supported)('npm package', () => {
  const work = mkdtempSync(path.join(tmpdir(), 'softmax-native-package-'));
  const source = path.join(work, 'source');
  const app = path.join(work, 'app');
  const bin = path.join(work, 'bin');
  const installed = path.join(app, 'node_modules/softmax-native');
  let packed: string[] = [];
  let packedSize = 0;

  beforeAll(() => {
    // A copy, because prebuildify deletes build/ and moves the addon away.
    const left = new Set(['node_modules', 'build', 'dist', 'prebuilds', '.git']);
    cpSync(root, source, { recursive: true, filter: (file) => !left.has(path.relative(root, file)) });
    symlinkSync(path.join(root, 'node_modules'), path.join(source, 'node_modules'));
    npm(source, ['run', 'build:prebuilds']);

    const tarballs = [
      source,
      ...['node-addon-api', 'node-gyp-build'].map((name) => path.join(root, 'node_modules', name)),
    ].map((folder) => {
      const [result] = JSON.parse(
        npm(folder, ['pack', '--json', '--silent', '--pack-destination', work]),
      ) as [{ filename: string; size: number; files: { path: string }[] }];
      if (folder === source) {
        packed = result.files.map((file) => file.path);
        packedSize = result.size;
      }
      return path.join(work, result.filename);
    });

    // The only programs the installed package can find: node, and the shell npm starts scripts with.
    mkdirSync(bin);
    symlinkSync(process.execPath, path.join(bin, 'node'));
    symlinkSync('/bin/sh', path.join(bin, 'sh'));

    mkdirSync(app);
    writeFileSync(
      path.join(app, 'package.json'),
      JSON.stringify({ name: 'app', private: true, type: 'module' }),
    );
    npm(app, ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs], {
      PATH: bin,
    });
  });

  afterAll(() => {
    rmSync(work, { recursive: true, force: true });
  });

  it('holds what is needed to run and to build from source, and nothing else', () => {
    const expected = [
      'package.json',
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
      'THIRD-PARTY-NOTICES.md',
      'CMakeLists.txt',
      'dist/index.js',
      'dist/index.d.ts',
      'native/cpu/cpu.h',
      `prebuilds/linux-${process.arch}/libgomp.so.1`,
    ];
    for (const file of expected) expect(packed).toContain(file);
    expect(packed.filter((file) => file.endsWith('.node'))).toHaveLength(1);

    const known =
      /^(dist|lib|native\/(addon|cpu|cuda|numerics|ops)|prebuilds)\/|^(package\.json|LICENSE|CMakeLists\.txt|[A-Z-]+\.md)$/;
    expect(packed.filter((file) => !known.test(file) || /\.test\.|\.spec\./.test(file))).toEqual([]);
  });

  it('is as large as the README says', ({ skip }) => {
    const [, ...stated] =
      /library of a release is ([\d.]+) MB.*package that npm downloads is ([\d.]+) MB/.exec(
        readFileSync(path.join(root, 'README.md'), 'utf8'),
      ) ?? [];
    const [prebuild = ''] = packed.filter((file) => file.endsWith('.node'));
    const sizes = [statSync(path.join(installed, prebuild)).size, packedSize];
    console.log(`library ${sizes[0]} bytes, package ${sizes[1]} bytes`);
    skip(spawnSync('nvcc', ['--version']).error !== undefined, 'without nvcc it has no code for GPUs');
    expect(stated).toHaveLength(2);
    for (const [i, size] of sizes.entries()) {
      expect(Math.abs(size / 1e6 - Number(stated[i])), `${size} bytes`).toBeLessThan(0.25);
    }
  });

  it('has no install script', () => {
    const { scripts } = JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    expect(Object.keys(scripts).filter((name) => /^(pre|post)?(install|prepare|build)$/.test(name))).toEqual([
      'build',
    ]);
  });

  const use = `
    const p = softmax(Float32Array.of(1, 2, 3), { shape: [1, 3] });
    const sum = p[0] + p[1] + p[2];
    if (!(Math.abs(sum - 1) < 1e-6 && p[2] > 0.665 && p[2] < 0.666)) throw new Error('wrong result ' + p);
    const maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8');
    console.log(JSON.stringify([...new Set(maps.match(/\\S*(?:softmax-native\\S*\\.node|libgomp\\S*)$/gm))]));`;

  it.each([
    [
      'import',
      [
        '--input-type=module',
        '-e',
        `import { createRequire } from 'node:module'; import { softmax } from 'softmax-native'; const require = createRequire('file:///'); ${use}`,
      ],
    ],
    ['require', ['--input-type=commonjs', '-e', `const { softmax } = require('softmax-native'); ${use}`]],
  ])('works after %s with the prebuilt addon and its own libgomp, without a compiler', (_, args) => {
    const { status, stdout, stderr } = node(args, { PREBUILDS_ONLY: '1' });
    expect(
      stderr.replaceAll(/^\(.*ExperimentalWarning.*$|^\(Use `node --trace-warnings.*$/gm, '').trim(),
    ).toBe('');
    expect(status).toBe(0);
    const loaded = JSON.parse(stdout) as string[];
    const prebuilds = path.join(installed, `prebuilds/linux-${process.arch}`);
    expect(loaded.toSorted()).toEqual(
      readdirSync(prebuilds)
        .map((name) => path.join(prebuilds, name))
        .toSorted(),
    );
  });

  it('has a prebuilt addon that needs neither CUDA nor a C++ library', () => {
    const prebuilds = path.join(installed, `prebuilds/linux-${process.arch}`);
    const addon = readdirSync(prebuilds).find((name) => name.endsWith('.node')) ?? '';
    const dynamic = execFileSync('readelf', ['-dW', path.join(prebuilds, addon)], { encoding: 'utf8' });
    const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1]);
    expect(needed).toContain('libgomp.so.1');
    expect(needed.filter((name) => /libcuda|libcudart|libstdc\+\+|libgcc_s/.test(name ?? ''))).toEqual([]);
    expect(dynamic).toMatch(/\(RUNPATH\).*\[\$ORIGIN\]/);
  });

  it('has types that a strict program compiles against, with library checks on', () => {
    const consumer = path.join(app, 'consumer');
    mkdirSync(consumer);
    writeFileSync(
      path.join(consumer, 'index.ts'),
      `import { deviceInfo, rowMax, softmax, softmaxJacobian } from 'softmax-native';

const logits = Float32Array.of(1, 2, 3, 4);
const probabilities: Float32Array = softmax(logits, { shape: [2, 2], axis: -1, threads: 1 });
const inPlace: Float32Array = softmax(logits, { out: logits });
const doubles: Float64Array = softmax(Float64Array.of(1, 2));
const plain: number[] = softmax([1, 2, 3]);
const nested: number[][] = softmax([[1, 2], [3, 4]]);
const { max, argmax } = rowMax(logits, { shape: [2, 2] });
const winner: number | undefined = argmax[0];
const highest: number | undefined = max[0];
const jacobian: Float32Array = softmaxJacobian(logits, { shape: [2, 2] });
deviceInfo();
export { probabilities, inPlace, doubles, plain, nested, winner, highest, jacobian };
`,
    );
    const compilerOptions = {
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      exactOptionalPropertyTypes: true,
      target: 'es2022',
      lib: ['es2022'],
      module: 'nodenext',
      types: [],
    };
    writeFileSync(
      path.join(consumer, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, include: ['index.ts'] }),
    );
    const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
    const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', consumer], { encoding: 'utf8' });
    expect(stdout).toBe('');
    expect(status).toBe(0);
  });

  it('without its prebuilt addon names the command that builds from source, and that command works', () => {
    rmSync(path.join(installed, 'prebuilds'), { recursive: true });
    const load = ['--input-type=module', '-e', `import { softmax } from 'softmax-native'; softmax([1, 2]);`];
    const before = node(load);
    expect(before.status).not.toBe(0);
    expect(before.stderr).toMatch(/cmake-js.*node_modules\/softmax-native/);

    const cmakeJs = path.join(root, 'node_modules/cmake-js/bin/cmake-js');
    execFileSync(process.execPath, [cmakeJs, 'compile', '-d', 'node_modules/softmax-native'], {
      cwd: app,
      env: environment,
      stdio: 'pipe',
    });
    expect(existsSync(path.join(installed, 'build/Release/softmax_native.node'))).toBe(true);
    expect(node(load)).toMatchObject({ status: 0, stderr: '' });
  });

  function npm(cwd: string, args: string[], env: Record<string, string> = {}): string {
    const cli =
      process.env['npm_execpath'] ??
      path.join(execFileSync('npm', ['root', '-g'], { encoding: 'utf8' }).trim(), 'npm/bin/npm-cli.js');
    return execFileSync(process.execPath, [cli, ...args], {
      cwd,
      env: { ...environment, ...env },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  function node(args: string[], env: Record<string, string> = {}): SpawnSyncReturns<string> {
    return spawnSync(process.execPath, args, {
      cwd: app,
      env: { ...environment, PATH: bin, ...env },
      encoding: 'utf8',
    });
  }
});
