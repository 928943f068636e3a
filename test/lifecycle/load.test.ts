// Loading the native library: the environment variables that it reads, and what is said where it cannot be loaded.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { deviceInfo, type CpuInfo } from '../../lib/index.ts';
import { candidates, libcOf, type Libc } from '../../lib/loader.ts';
import { run } from './child.ts';

const repository = fileURLToPath(new URL('../..', import.meta.url));

interface Report {
  policy: string | null;
  info: CpuInfo | { backend: 'none'; reason: string };
  probabilities?: number[];
  error?: { name: string; code: string; message: string };
}

function report(program: string, environment: NodeJS.ProcessEnv = {}): Report {
  const { status, signal, stdout, stderr } = run(program, environment);
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
  return JSON.parse(stdout) as Report;
}

describe('OMP_WAIT_POLICY', () => {
  const unset = { OMP_WAIT_POLICY: undefined, SOFTMAX_NATIVE_ISA: undefined };

  it('is passive for the load alone where it is not set', () => {
    const { policy, info } = report('device-info.mjs', unset);
    expect(policy).toBeNull();
    expect(info).toMatchObject({ passiveWait: true });
  });

  it('is left as it is set', () => {
    const { policy, info } = report('device-info.mjs', { ...unset, OMP_WAIT_POLICY: 'active' });
    expect(policy).toBe('active');
    expect(info).toMatchObject({ passiveWait: false });
    const passive = report('device-info.mjs', { ...unset, OMP_WAIT_POLICY: 'PASSIVE' });
    expect(passive).toMatchObject({ policy: 'PASSIVE', info: { passiveWait: true } });
  });

  it('cannot be set by a worker thread that alone loads the library, which then uses one thread', () => {
    const two = { ...unset, OMP_NUM_THREADS: '2' };
    const { policy, info } = report('device-info-in-worker.mjs', two);
    expect(policy).toBeNull();
    expect(info).toMatchObject({ passiveWait: true, threads: 1 });
    const active = report('device-info-in-worker.mjs', { ...two, OMP_WAIT_POLICY: 'active' });
    expect(active.info).toMatchObject({ passiveWait: false, threads: 2 });
  });
});

describe('OMP_NUM_THREADS', () => {
  it('is the default number of threads', () => {
    expect(report('device-info.mjs', { OMP_NUM_THREADS: '7' }).info).toMatchObject({ threads: 7 });
  });
});

describe('SOFTMAX_NATIVE_ISA', () => {
  it.each(deviceInfo().availableIsas)('%s is used', (isa) => {
    const { info, probabilities } = report('device-info.mjs', { SOFTMAX_NATIVE_ISA: isa });
    expect(info).toMatchObject({ backend: 'cpu', isa });
    expect(probabilities).toEqual([0.5, 0.5]);
  });

  it('that is empty leaves the choice to the library', () => {
    const { info } = report('device-info.mjs', { SOFTMAX_NATIVE_ISA: '' });
    expect(info).toMatchObject({ isa: deviceInfo().availableIsas.at(-1) });
  });

  it.each(['avx9', 'AVX2', process.arch === 'arm64' ? 'avx2' : 'neon'])(
    '%s is refused by every call',
    (isa) => {
      for (const program of ['device-info.mjs', 'device-info-in-worker.mjs']) {
        const { info, error } = report(program, { SOFTMAX_NATIVE_ISA: isa });
        const message = new RegExp(
          `^Expected scalar.* for SOFTMAX_NATIVE_ISA on this processor but received '${isa}'$`,
        );
        expect(info).toMatchObject({ backend: 'none', reason: expect.stringMatching(message) as string });
        expect(error).toEqual({
          name: 'Error',
          code: 'ERR_UNSUPPORTED_ISA',
          message: expect.stringMatching(message) as string,
        });
      }
    },
  );
});

describe('SOFTMAX_NATIVE_LIBRARY', () => {
  it('is the file that is loaded', () => {
    const file = path.join(repository, 'build', 'Release', 'softmax_native.node');
    const { probabilities } = report('device-info.mjs', { SOFTMAX_NATIVE_LIBRARY: file });
    expect(probabilities).toEqual([0.5, 0.5]);
  });

  it('is relative to the working directory, and searched for nowhere else', () => {
    const { info, error } = report('device-info.mjs', { SOFTMAX_NATIVE_LIBRARY: 'no/such.node' });
    const file = path.resolve('no/such.node');
    expect(error).toMatchObject({ code: 'ERR_NATIVE_LIBRARY' });
    expect(error!.message.split('\n').slice(1, 4)).toEqual([
      'SOFTMAX_NATIVE_LIBRARY names the file:',
      `- ${file}: not there`,
      'Possible solutions:',
    ]);
    expect(error!.message).toContain('- Unset SOFTMAX_NATIVE_LIBRARY');
    expect(info).toMatchObject({ backend: 'none', reason: error!.message });
  });

  it('has to end in .node, or it would be run as a program', () => {
    const { error } = report('device-info.mjs', {
      SOFTMAX_NATIVE_LIBRARY: fileURLToPath(new URL('programs/throws.mjs', import.meta.url)),
    });
    expect(error).toMatchObject({ code: 'ERR_NATIVE_LIBRARY' });
    expect(error!.message).toContain('throws.mjs: Its name has to end in .node');
  });
});

describe('SOFTMAX_NATIVE_DEVICE', () => {
  it('is the default device', () => {
    const { info, probabilities } = report('device-info.mjs', { SOFTMAX_NATIVE_DEVICE: 'cpu' });
    expect(info).toMatchObject({ backend: 'cpu', defaultDevice: 'cpu' });
    expect(probabilities).toEqual([0.5, 0.5]);
  });

  it('that is none is refused by calls', () => {
    const { info, error } = report('device-info.mjs', { SOFTMAX_NATIVE_DEVICE: 'tpu' });
    expect(info).toMatchObject({ backend: 'cpu', defaultDevice: 'tpu' });
    expect(error).toMatchObject({
      name: 'RangeError',
      code: 'ERR_OUT_OF_RANGE',
      message: expect.stringMatching(/for SOFTMAX_NATIVE_DEVICE but received 'tpu'/) as string,
    });
  });
});

describe('the files of the package', () => {
  const folders: string[] = [];
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true });
  });

  const built = path.join(repository, 'build', 'Release', 'softmax_native.node');
  const platform = `${process.platform}-${process.arch}`;
  const release = 'build/Release/softmax_native.node';
  const debug = 'build/Debug/softmax_native.node';
  const prebuild = candidates('', process.platform, process.arch, libcHere()).at(-1)!;

  interface PackageReport extends Report {
    folder: string;
  }

  /** What a program says that uses a copy of the package without its native library, after a change to the copy. */
  function reportOfPackage(
    change: (folder: string) => void,
    environment: NodeJS.ProcessEnv = {},
    node: (folder: string) => string = () => process.execPath,
  ): PackageReport {
    const folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'softmax-native-')));
    folders.push(folder);
    cpSync(path.join(repository, 'dist'), path.join(folder, 'dist'), { recursive: true });
    cpSync(path.join(repository, 'package.json'), path.join(folder, 'package.json'));
    const program = path.join(folder, 'device-info.mjs');
    cpSync(fileURLToPath(new URL('programs/device-info.mjs', import.meta.url)), program);
    change(folder);
    const env = { ...process.env, ...environment };
    delete env['SOFTMAX_NATIVE_LIBRARY'];
    const { status, stdout, stderr } = spawnSync(node(folder), [program], {
      cwd: folder,
      env,
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return { ...(JSON.parse(stdout) as Report), folder };
  }

  /** Puts something in the place of a native library: a copy of the one that was built, or a text. */
  const put =
    (file: string, text?: string) =>
    (folder: string): void => {
      const target = path.join(folder, file);
      mkdirSync(path.dirname(target), { recursive: true });
      if (text === undefined) copyFileSync(built, target);
      else writeFileSync(target, text);
    };

  it.each([release, debug, prebuild])('%s is loaded', (file) => {
    expect(reportOfPackage(put(file)).probabilities).toEqual([0.5, 0.5]);
  });

  it('are tried in an order in which a build comes before the prebuilt file', () => {
    const { probabilities } = reportOfPackage((folder) => {
      put(release)(folder);
      put(prebuild, 'not a library')(folder);
    });
    expect(probabilities).toEqual([0.5, 0.5]);
  });

  it('that are missing are listed by the first call, not by the import', () => {
    const { info, error, folder } = reportOfPackage(() => {});
    expect(error).toMatchObject({ name: 'Error', code: 'ERR_NATIVE_LIBRARY' });
    expect(error!.message.split('\n')).toEqual([
      `Could not load the native library of softmax-native for ${platform}, Node.js ${process.version}.`,
      'Looked for these files, to load the first that is there:',
      ...[release, debug, prebuild].map((file) => `- ${path.join(folder, file)}: not there`),
      'Possible solutions:',
      '- Build it from source, with CMake and g++ or clang:',
      '      npx cmake-js@8 compile -d node_modules/softmax-native',
      '- In a bundle: mark softmax-native as external, as a bundler cannot include a native library.',
    ]);
    expect(info).toMatchObject({ backend: 'none', reason: error!.message, availableIsas: [] });
  });

  it('are not replaced by another where one is damaged, which is explained with what the system says', () => {
    const { error, folder } = reportOfPackage((at) => {
      put(release, 'not a library')(at);
      put(prebuild)(at);
    });
    expect(error).toMatchObject({ name: 'Error', code: 'ERR_NATIVE_LIBRARY' });
    const [, , ...lines] = error!.message.split('\n');
    const file = (name: string): string => path.join(folder, name);
    // The system's words, after the name of the file, which is not repeated.
    expect(lines[0]?.replace(/: \S.*$/, '')).toBe(`- ${file(release)}`);
    expect(lines[0]).not.toMatch(/not there|not tried/);
    expect(lines[1]).toBe(`- ${file(debug)}: not there`);
    expect(lines[2]).toBe(`- ${file(prebuild)}: there, but not tried`);
    expect(lines).toContain(`- Delete ${file(release)}, so that ${file(prebuild)} is used`);
    expect(error!.message).not.toContain('libgomp');
  });

  it('are the only ones that are loaded, whatever lies beside Node.js or in other environment variables', () => {
    let elsewhere = '';
    const { error, folder } = reportOfPackage(
      (at) => {
        elsewhere = path.join(at, 'elsewhere');
        // Where node-gyp-build and its kin would look, from the program of Node.js and from the working directory.
        for (const place of ['elsewhere', 'elsewhere/bin', 'node_modules/softmax-native']) {
          for (const file of [release, prebuild, prebuild.replace(/\.\w+\.node$/, '.node')]) {
            put(path.join(place, file))(at);
          }
        }
        copyFileSync(process.execPath, path.join(elsewhere, 'bin', 'node'));
      },
      {
        SOFTMAX_NATIVE_PREBUILD: path.join('elsewhere'),
        NODE_PATH: path.join('elsewhere', 'build', 'Release'),
        npm_config_platform: 'linux',
        LIBC: 'musl',
      },
      () => path.join(elsewhere, 'bin', 'node'),
    );
    expect(error).toMatchObject({ code: 'ERR_NATIVE_LIBRARY' });
    for (const file of [release, debug, prebuild]) {
      expect(error!.message).toContain(`- ${path.join(folder, file)}: not there\n`);
    }
  });

  it('may need an OpenMP runtime, and where it is missing the error says how to install it', ({ skip }) => {
    const library = readFileSync(built);
    const needed = library.indexOf('libgomp.so.1\0');
    skip(needed === -1, 'the library is built without libgomp');
    const { error } = reportOfPackage((folder) => {
      put(release)(folder);
      // The name of a runtime that no system has.
      library.write('libgomp.so.9', needed);
      writeFileSync(path.join(folder, release), library);
    });
    expect(error).toMatchObject({ code: 'ERR_NATIVE_LIBRARY' });
    expect(error!.message).toContain('libgomp.so.9: cannot open shared object file');
    expect(error!.message).toContain('- Install the OpenMP runtime: apt-get install libgomp1');
  });
});

function libcHere(): Libc {
  return process.platform === 'linux' ? libcOf(readFileSync('/proc/self/maps', 'latin1')) : 'glibc';
}
