// Loading the native library: the environment variables that it reads, and what is said where it cannot be loaded.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { deviceInfo, type CpuInfo } from '../../lib/index.ts';
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
    expect(error!.message.split('\n')[1]).toBe(`SOFTMAX_NATIVE_LIBRARY names the file ${file}.`);
    expect(error!.message).toContain('Cannot find module');
    expect(info).toMatchObject({ backend: 'none', reason: error!.message });
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

describe('a native library that cannot be loaded', () => {
  const folders: string[] = [];
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true });
  });

  /** What a program says that uses a copy of the package without its native library, after a change to the copy. */
  function reportOfPackage(change: (folder: string) => void): Report {
    const folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'softmax-native-')));
    folders.push(folder);
    cpSync(path.join(repository, 'dist'), path.join(folder, 'dist'), { recursive: true });
    cpSync(path.join(repository, 'package.json'), path.join(folder, 'package.json'));
    const loader = path.join('node_modules', 'node-gyp-build');
    cpSync(path.join(repository, loader), path.join(folder, loader), { recursive: true, dereference: true });
    const program = path.join(folder, 'device-info.mjs');
    cpSync(fileURLToPath(new URL('programs/device-info.mjs', import.meta.url)), program);
    change(folder);
    const { status, stdout, stderr } = spawnSync(process.execPath, [program], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return JSON.parse(stdout) as Report;
  }

  it('because there is none is explained by the first call, not by the import', () => {
    const { info, error } = reportOfPackage(() => {});
    expect(error).toMatchObject({ name: 'Error', code: 'ERR_NATIVE_LIBRARY' });
    const lines = error!.message.split('\n');
    const platform = `${process.platform}-${process.arch}`;
    expect(lines[0]).toBe(
      `Could not load the native library of softmax-native for ${platform}, Node.js ${process.version}.`,
    );
    expect(lines[1]).toBe(
      `Looked for a *.node file in build/Release, build/Debug and prebuilds/${platform} of ${folders.at(-1)}.`,
    );
    expect(lines[2]).toMatch(/^No native build was found for platform=/);
    expect(error!.message).toContain('Possible solutions:\n');
    expect(error!.message).toContain('npx cmake-js@8 compile -d node_modules/softmax-native');
    expect(info).toMatchObject({ backend: 'none', reason: error!.message, availableIsas: [] });
  });

  it('because its file is damaged is explained with what the system says', () => {
    const { error } = reportOfPackage((folder) => {
      const build = path.join(folder, 'build', 'Release');
      mkdirSync(build, { recursive: true });
      writeFileSync(path.join(build, 'softmax_native.node'), 'not a library');
    });
    expect(error).toMatchObject({ name: 'Error', code: 'ERR_NATIVE_LIBRARY' });
    expect(error!.message).toMatch(/softmax_native\.node: \S+/);
    expect(error!.message).not.toContain('libgomp');
  });

  it('because the OpenMP runtime is missing is explained with how to install it', () => {
    const { error } = reportOfPackage((folder) => {
      const loader = path.join(folder, 'node_modules', 'node-gyp-build', 'index.js');
      const text = 'libgomp.so.1: Cannot find module: No such file or directory';
      writeFileSync(loader, `module.exports = () => { throw new Error('${text}'); };`);
    });
    expect(error).toMatchObject({ code: 'ERR_NATIVE_LIBRARY' });
    expect(error!.message).toContain('libgomp.so.1: Cannot find module');
    expect(error!.message).toContain('- Install the OpenMP runtime: apt-get install libgomp1');
  });
});
