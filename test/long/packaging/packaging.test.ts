// The npm package as its users get it: what it holds, that it computes on every Node.js without a compiler, what it
// opens, how it is compiled against and bundled, and how it is built from source. Building its prebuilt library takes
// most of the time; CMAKE_JS_DEFINES=SOFTMAX_CUDA=OFF leaves out the part of it that takes minutes.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backgroundPrograms, flags } from '../../lifecycle/child.ts';
import { fetchNode, npm, Package, root } from './package.ts';

/** The newest of each major version that the package is for. */
const nodeVersions = ['20.20.2', '22.23.3', '24.21.0', '26.12.1'];

/** Of the tarball, in bytes. */
const largestSize = 4_450_000;

const supported = process.platform === 'linux';
if (!supported) console.warn('test/long/packaging: skipped, prebuilds are made for Linux only');
const withoutCuda =
  process.env['CMAKE_JS_DEFINES']?.includes('SOFTMAX_CUDA=OFF') ||
  spawnSync('nvcc', ['--version']).error !== undefined;
const hasStrace = spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0;

describe.skipIf(!supported)('npm package', () => {
  const made = new Package();
  const nodes = new Map<string, { program: string } | Error>();

  beforeAll(async () => {
    // Fetched while the library is compiled.
    const fetched = nodeVersions.map(async (version) =>
      nodes.set(version, await fetchNode(path.join(made.work, 'nodes', version), version)),
    );
    made.make();
    await Promise.all(fetched);
  });

  afterAll(() => {
    made.remove();
  });

  describe('its files', () => {
    it('are what is needed to run and to build from source, and nothing else', () => {
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
      for (const file of expected) expect(made.files).toContain(file);
      expect(made.files.filter((file) => file.endsWith('.node'))).toEqual([
        `prebuilds/linux-${process.arch}/softmax-native.glibc.node`,
      ]);

      const known =
        /^(bin|dist|lib|native\/(addon|cpu|cuda|numerics|ops)|prebuilds)\/|^(package\.json|LICENSE|CMakeLists\.txt|[A-Z-]+\.md)$/;
      expect(made.files.filter((file) => !known.test(file) || /\.test\.|\.spec\./.test(file))).toEqual([]);
    });

    it('are as large as the README says, and not larger than they may be', ({ skip }) => {
      const stated = numbersOfReadme(
        /library of a release is ([\d.]+) MB.*package that npm downloads is ([\d.]+) MB/,
      );
      const sizes = [statSync(made.library).size, made.size];
      console.log(`library ${sizes[0]} bytes, package ${sizes[1]} bytes`);
      expect(made.size).toBeLessThan(largestSize);
      skip(withoutCuda, 'without CUDA it has no code for GPUs');
      for (const [i, size] of sizes.entries()) {
        expect(Math.abs(size / 1e6 - stated[i]!), `${size} bytes`).toBeLessThan(0.05 + 0.03 * stated[i]!);
      }
    });

    it('satisfy publint and are-the-types-wrong', () => {
      expect(npm(made.source, ['run', 'check:package'])).toContain('All good!');
    });

    it('have no script that npm runs at an install', () => {
      const scripts = Object.keys(made.manifest().scripts);
      const atInstall = /^(pre|post)?(install|prepare|publish|build)$|^dependencies$|^preprepare$/;
      expect(scripts.filter((name) => atInstall.test(name))).toEqual(['build']);
      // npm would run node-gyp by itself.
      expect(made.files).not.toContain('binding.gyp');
    });
  });

  describe('its prebuilt library', () => {
    it('needs no CUDA and no C++ library, and finds the libgomp beside it', () => {
      const dynamic = readelf('-d', made.library);
      const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1]);
      expect(needed).toContain('libgomp.so.1');
      expect(needed.filter((name) => /libcuda|libcudart|libstdc\+\+/.test(name ?? ''))).toEqual([]);
      expect(dynamic).toMatch(/\(RUNPATH\).*\[\$ORIGIN\]/);
    });

    it('has code for the CPU and for GPUs in one file, stripped of symbols', ({ skip }) => {
      const sections = readelf('-S', made.library);
      expect(sections).toContain(' .text ');
      expect(sections).not.toMatch(/ \.symtab | \.debug/);
      skip(withoutCuda, 'built without CUDA');
      expect(sections).toContain(' .nv_fatbin ');
    });

    it('needs the glibc that the README states', () => {
      const [stated] = numbersOfReadme(/glibc 2\.(\d+) or later/);
      const needed = readdirSync(made.prebuilds).flatMap((name) =>
        [...readelf('-V', path.join(made.prebuilds, name)).matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) =>
          Number(minor),
        ),
      );
      expect(Math.max(...needed)).toBe(stated);
    });
  });

  describe('where it is installed without scripts, network or compiler', () => {
    // Results of every function as bits, and the libraries that were loaded.
    const use = `
      const x = Float64Array.from({ length: 91 }, (_, i) => 20 * Math.sin(i * i));
      const bits = [];
      for (const logits of [x, Float32Array.from(x)]) {
        const options = { shape: [7, 13] };
        const { max, argmax } = rowMax(logits, options);
        for (const result of [softmax(logits, options), max, argmax, softmaxJacobian(logits, options)]) {
          bits.push(Buffer.from(result.buffer, result.byteOffset, result.byteLength).toString('hex'));
        }
      }
      const maps = process.getBuiltinModule('node:fs').readFileSync('/proc/self/maps', 'utf8');
      const libraries = maps.match(/\\S*(?:softmax-native\\S*\\.node|libgomp\\S*)$/gm);
      const loaded = [...new Set(libraries)].sort();
      const probabilities = softmax([1, 2, 3]);
      console.log(JSON.stringify({ version: process.version, probabilities, bits, libraries: loaded }));`;
    const programs = {
      import: [
        '--input-type=module',
        '-e',
        `import { rowMax, softmax, softmaxJacobian } from 'softmax-native'; ${use}`,
      ],
      require: [
        '--input-type=commonjs',
        '-e',
        `const { rowMax, softmax, softmaxJacobian } = require('softmax-native'); ${use}`,
      ],
    };

    interface Result {
      version: string;
      probabilities: number[];
      bits: string[];
      libraries: string[];
    }

    function resultOf(args: string[], program?: string): Result {
      const { status, stdout, stderr } = made.node(args, program);
      expect(withoutExperimental(stderr)).toBe('');
      expect(status).toBe(0);
      return JSON.parse(stdout) as Result;
    }

    it.each(['import', 'require'] as const)('computes after %s, with the libgomp that it brings', (how) => {
      const { probabilities, libraries } = resultOf(programs[how]);
      const expected = [0.09003057317038046, 0.24472847105479764, 0.6652409557748218];
      for (const [i, p] of expected.entries()) expect(probabilities[i]).toBeCloseTo(p, 15);
      expect(libraries).toEqual(
        readdirSync(made.prebuilds)
          .map((name) => path.join(made.prebuilds, name))
          .toSorted(),
      );
    });

    it.for(nodeVersions)('computes the same bits on Node.js %s', (version, { skip }) => {
      const node = nodes.get(version);
      if (node === undefined || node instanceof Error) {
        console.warn(`test/long/packaging: Node.js ${version} could not be fetched: ${node?.message}`);
        return skip(`Node.js ${version} could not be fetched`);
      }
      const { bits } = resultOf(programs.import);
      for (const args of [programs.import, programs.require]) {
        const result = resultOf(args, node.program);
        expect(result.version).toBe(`v${version}`);
        expect(result.bits).toEqual(bits);
      }
    });

    // What calls in the background must stand depends on the version of Node.js.
    it.for(nodeVersions)('keeps to the memory rule, and ends well, on Node.js %s', (version, { skip }) => {
      const node = nodes.get(version);
      if (node === undefined || node instanceof Error) return skip(`Node.js ${version} could not be fetched`);
      cpSync(path.join(root, 'test/lifecycle/programs'), path.join(made.app, 'programs'), {
        recursive: true,
      });
      for (const program of ['memory-rule.mjs', ...backgroundPrograms.map(([, file]) => file)]) {
        const { status, signal, stderr } = made.node(
          ['--expose-gc', ...flags, path.join('programs', program)],
          node.program,
        );
        expect({ status, signal, stderr: withoutExperimental(stderr) }, program).toEqual({
          status: 0,
          signal: null,
          stderr: '',
        });
      }
    });

    it('lets every entry be imported and required', () => {
      for (const entry of made.entries()) {
        const load = `import(${JSON.stringify(entry)}).then((entry) => {
          if (Object.keys(entry).join() !== Object.keys(require(${JSON.stringify(entry)})).join()) throw new Error('differ');
        })`;
        const { status, stderr } = made.node(['--input-type=commonjs', '-e', load]);
        expect({ status, stderr: withoutExperimental(stderr) }, entry).toEqual({ status: 0, stderr: '' });
      }
    });

    it.skipIf(!hasStrace)('opens its own files, and says nothing to the network', () => {
      const opened = (program: string): { files: string[]; sockets: string[] } => {
        const trace = path.join(made.work, 'trace');
        const calls = 'trace=open,openat,execve,socket,connect';
        const args = ['-f', '-o', trace, '-e', calls, process.execPath, '--input-type=module', '-e', program];
        expect(spawnSync('strace', args, { cwd: made.app, encoding: 'utf8' })).toMatchObject({ status: 0 });
        const lines = readFileSync(trace, 'utf8').split('\n');
        return {
          files: lines.flatMap(
            (line) => /(?:open|openat|execve)\([^"]*"([^"]+)".*= \d/.exec(line)?.[1] ?? [],
          ),
          sockets: lines.filter((line) => /\b(socket|connect)\(/.test(line)),
        };
      };
      const { files, sockets } = opened(`import { softmax } from 'softmax-native'; softmax([1, 2]);`);
      const before = new Set(opened('').files);
      const own = files.filter((file) => file.startsWith(made.installed));
      expect(own).toContain(made.library);
      // The process's own map and what it may use, what malloc of glibc asks, and how Node.js finds a package.
      const known =
        /^\/proc\/sys\/vm\/overcommit_memory$|^\/proc\/self\/|^\/sys\/fs\/cgroup\/|^\/sys\/devices\/system\/cpu|\/package\.json$/;
      expect(files.filter((file) => !own.includes(file) && !before.has(file) && !known.test(file))).toEqual(
        [],
      );
      expect(sockets).toEqual([]);
    });
    if (!hasStrace) console.warn('test/long/packaging: which files are opened is not tested without strace');
  });

  it('has types that a strict program compiles against, with library checks on', () => {
    const consumer = path.join(made.app, 'consumer');
    mkdirSync(consumer);
    const entries = made
      .entries()
      .map((entry, i) => `import * as entry${i} from '${entry}';\nvoid entry${i};\n`);
    writeFileSync(
      path.join(consumer, 'index.ts'),
      `import { deviceInfo, rowMax, softmax, softmaxJacobian } from 'softmax-native';
${entries.join('')}
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

  describe.each([
    ['esm', 'mjs'],
    ['cjs', 'cjs'],
  ] as const)('in a bundle of esbuild, %s', (format, extension) => {
    async function bundle(external: string[]): Promise<string> {
      const outfile = path.join(made.app, 'bundles', external.join(), `app.${extension}`);
      const contents = `import { softmax } from 'softmax-native'; console.log(...softmax([0, 0]));`;
      const stdin = { contents, resolveDir: made.app };
      await build({ stdin, bundle: true, platform: 'node', format, external, outfile, logLevel: 'error' });
      return outfile;
    }

    it('that leaves the package outside, it computes', async () => {
      const { status, stdout, stderr } = made.node([await bundle(['softmax-native'])]);
      expect({ status, stdout, stderr: withoutExperimental(stderr) }).toEqual({
        status: 0,
        stdout: '0.5 0.5\n',
        stderr: '',
      });
    });

    it('that took it in without its library, the error says to leave it outside', async () => {
      const { status, stderr } = made.node([await bundle([])]);
      expect(status).toBe(1);
      expect(stderr).toContain('Could not load the native library of softmax-native');
      expect(stderr).toContain('In a bundle: mark softmax-native as external');
      expect(stderr).toContain("code: 'ERR_NATIVE_LIBRARY'");
    });
  });

  it('without its prebuilt library names the command that builds from source, and that command works', () => {
    rmSync(path.join(made.installed, 'prebuilds'), { recursive: true });
    const load = ['--input-type=module', '-e', `import { softmax } from 'softmax-native'; softmax([1, 2]);`];
    const before = made.node(load);
    expect(before.status).not.toBe(0);
    expect(before.stderr).toContain(`- ${made.library}: not there`);
    expect(before.stderr).toMatch(/npx cmake-js@8 compile -d node_modules\/softmax-native/);

    made.buildFromSource();
    expect(made.node(load)).toMatchObject({ status: 0, stderr: '' });
  });
});

/** The numbers that the README states in this sentence. */
function numbersOfReadme(sentence: RegExp): number[] {
  const [, ...numbers] = sentence.exec(readFileSync(path.join(root, 'README.md'), 'utf8')) ?? [];
  expect(numbers, `the README has no sentence ${sentence.source}`).not.toHaveLength(0);
  return numbers.map(Number);
}

function readelf(what: string, file: string): string {
  return execFileSync('readelf', ['-W', what, file], { encoding: 'utf8' });
}

/** Some versions warn that require() of an ES module is an experiment of theirs. */
function withoutExperimental(stderr: string): string {
  return stderr.replaceAll(/^\(.*ExperimentalWarning.*$|^\(Use `node --trace-warnings.*$/gm, '').trim();
}
