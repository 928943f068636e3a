// `softmax-native doctor` as its users run it: in a process of its own, with the built package.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
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
import type { Report } from '../../lib/doctor.ts';
import { goldenHashes } from '../../lib/goldenHashes.ts';
import { deviceInfo } from '../../lib/index.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
const results = Object.keys(goldenHashes).length;

interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Runs the command of a package's folder, without the variables that would change what it says. */
function command(args: string[], environment: NodeJS.ProcessEnv = {}, folder = root): Ended {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(SOFTMAX_NATIVE_(ISA|DEVICE)|OMP_|GOMP_)/.test(name)),
  );
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(folder, 'dist', 'cli.js'), ...args],
    { env: { ...env, ...environment }, encoding: 'utf8' },
  );
  return { status, signal, stdout, stderr };
}

function report(status: number, environment: NodeJS.ProcessEnv = {}, folder = root): Report {
  const ended = command(['doctor', '--json'], environment, folder);
  expect({ ...ended, stdout: '' }).toEqual({ status, signal: null, stdout: '', stderr: '' });
  return JSON.parse(ended.stdout) as Report;
}

/** The self-test on a device that passes it. */
const passed = (device: string): object => ({ device, results, differing: [] });

describe('where everything works', () => {
  it('says what computes, with exit code 0', () => {
    const found = report(0);
    const { isa, availableIsas, threads, cuda } = deviceInfo() as Extract<
      ReturnType<typeof deviceInfo>,
      { backend: 'cpu' }
    >;
    expect(found).toMatchObject({
      ok: true,
      problems: [],
      package: { version, folder: root.replace(/\/$/, '') },
      node: { version: process.version, file: process.execPath },
      platform: { name: `${process.platform}-${process.arch}` },
      library: { loaded: true, reason: null },
      instructionSet: { available: availableIsas },
      threads: { byDefault: threads },
      openMp: { idleThreads: 'sleep' },
      cuda: { available: cuda.available },
      defaultDevice: 'auto',
    });
    expect(availableIsas).toContain(isa);
    expect(existsSync(String(found.library.file))).toBe(true);
    expect(path.extname(String(found.library.file))).toBe('.node');
    expect(found.selfTests[0]).toEqual(passed('cpu'));
  });

  it('says the same in words', () => {
    const { status, stdout, stderr } = command(['doctor']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^Package +softmax-native ${version} in `));
    expect(stdout).toMatch(/^Native library +\S+\.node$/m);
    expect(stdout).toMatch(/^Instruction set +\w+, the best one here \(available: scalar/m);
    expect(stdout).toMatch(/^Threads +\d+ by default: \d+ processors? available to this process, /m);
    expect(stdout).toMatch(/OMP_WAIT_POLICY is not set: idle threads sleep/);
    expect(stdout).toMatch(/^GPU +(none is used\. \S|cuda:0, )/m);
    expect(stdout).toMatch(
      new RegExp(`^Self-test +cpu: all ${results} results have the expected bits$`, 'm'),
    );
    expect(stdout).toMatch(/\n\nEverything works\.\n$/);
  });

  it.each(deviceInfo().availableIsas)('has the same bits with the instruction set %s', (isa) => {
    const { selfTests, instructionSet } = report(0, { SOFTMAX_NATIVE_ISA: isa });
    expect(instructionSet.used).toBe(isa);
    expect(selfTests[0]).toEqual(passed('cpu'));
  });

  it.each(['1', '3'])('has the same bits on %s threads', (threads) => {
    const found = report(0, { OMP_NUM_THREADS: threads });
    expect(found.threads).toMatchObject({ byDefault: Number(threads), because: 'environment' });
    expect(found.selfTests[0]).toEqual(passed('cpu'));
  });
});

describe('what may not be wanted', () => {
  it.each([
    [{ OMP_WAIT_POLICY: 'active' }, /OMP_WAIT_POLICY=active keeps processors busy/],
    [{ OMP_NUM_THREADS: '1000' }, /Calls use 1000 threads on \d+ processors?, .* unset OMP_NUM_THREADS/],
    [{ OMP_NUM_THREADS: '2', OMP_THREAD_LIMIT: '1' }, /OMP_THREAD_LIMIT lets a call use 1 thread only/],
  ])('%j is noted, and no problem', (environment, note) => {
    const found = report(0, environment);
    expect(found.notes.join('\n')).toMatch(note);
    expect(found.environment).toMatchObject(environment);
    expect(command(['doctor'], environment).stdout).toMatch(note);
  });

  it('a number of threads that is none is noted', () => {
    const { status, stdout } = command(['doctor'], { OMP_NUM_THREADS: 'many' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Note: OMP_NUM_THREADS is 'many', which is no positive integer, and is ignored/m);
  });

  it.skipIf(deviceInfo().availableIsas.length < 2)('a slower instruction set is noted', () => {
    const { notes } = report(0, { SOFTMAX_NATIVE_ISA: 'scalar' });
    expect(notes.join('\n')).toMatch(/makes calls use scalar; \w+, the best here, is faster/);
  });
});

describe('what does not work', () => {
  const folders: string[] = [];
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true });
  });

  /** A copy of the package without its native library. */
  function copyOfPackage(): string {
    const folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'softmax-native-doctor-')));
    folders.push(folder);
    cpSync(path.join(root, 'dist'), path.join(folder, 'dist'), { recursive: true });
    cpSync(path.join(root, 'package.json'), path.join(folder, 'package.json'));
    return folder;
  }

  it('without a native library: exit code 1, why, and what to do', () => {
    const folder = copyOfPackage();
    const unset = { SOFTMAX_NATIVE_LIBRARY: '' };
    const { status, stderr, stdout } = command(['doctor'], unset, folder);
    expect({ status, stderr }).toEqual({ status: 1, stderr: '' });
    expect(stdout).toMatch(/^Native library +NOT LOADED, see below$/m);
    expect(stdout).toMatch(/^PROBLEM: Could not load the native library/m);
    expect(stdout).toContain('npx cmake-js@8 compile -d node_modules/softmax-native');
    expect(stdout).toMatch(/\n1 problem found\.\n$/);
    expect(report(1, unset, folder)).toMatchObject({
      ok: false,
      library: { loaded: false, file: null, reason: expect.stringContaining('Possible solutions') as string },
      instructionSet: { used: null, available: [] },
      selfTests: [],
    });
  });

  it('with a damaged native library: what the system says', () => {
    const folder = copyOfPackage();
    const file = path.join(folder, 'build', 'Release', 'softmax_native.node');
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, 'not a library');
    const { problems } = report(1, { SOFTMAX_NATIVE_LIBRARY: file }, folder);
    expect(problems).toHaveLength(1);
    expect(problems[0]!.what).toMatch(/softmax_native\.node: \S+/);
  });

  it('with an instruction set that is none', () => {
    const { problems } = report(1, { SOFTMAX_NATIVE_ISA: 'avx9' });
    expect(problems).toEqual([
      {
        what: expect.stringMatching(/for SOFTMAX_NATIVE_ISA .* received 'avx9'$/) as string,
        remedies: [expect.stringMatching(/^Unset SOFTMAX_NATIVE_ISA/) as string],
      },
    ]);
  });

  it('with a result that has other bits: which, and what to do', () => {
    const folder = copyOfPackage();
    const hashes = path.join(folder, 'dist', 'goldenHashes.js');
    const name = 'rowMax, float64, special values';
    const text = readFileSync(hashes, 'utf8');
    const changed = text.replace(String(goldenHashes[name]), 'ffffffffffffffff');
    expect(changed).not.toBe(text);
    writeFileSync(hashes, changed);
    const file =
      process.env['SOFTMAX_NATIVE_LIBRARY'] ?? path.join(root, 'build/Release/softmax_native.node');
    const { ok, problems, selfTests } = report(1, { SOFTMAX_NATIVE_LIBRARY: file }, folder);
    expect(ok).toBe(false);
    expect(selfTests[0]!.differing).toEqual([
      { name, expected: 'ffffffffffffffff', actual: goldenHashes[name] },
    ]);
    expect(problems[0]!.what).toBe(
      `On cpu 1 of ${results} results do not have the bits that they should have: ${name}.`,
    );
    expect(problems[0]!.remedies.join('\n')).toMatch(/install the package again/);
    const { status, stdout } = command(['doctor'], { SOFTMAX_NATIVE_LIBRARY: file }, folder);
    expect(status).toBe(1);
    expect(stdout).toMatch(new RegExp(`^Self-test +cpu: 1 of ${results} results DIFFER, see below$`, 'm'));
  });

  it('with a default device that is none', () => {
    const { problems, selfTests } = report(1, { SOFTMAX_NATIVE_DEVICE: 'tpu' });
    expect(problems.map(({ what }) => what)).toEqual([
      expect.stringMatching(/^Every call .* throws: .*SOFTMAX_NATIVE_DEVICE but received 'tpu'/),
    ]);
    expect(selfTests[0]).toEqual(passed('cpu'));
  });
});

describe('GPUs', () => {
  const library = path.join(root, 'build', 'emulated', 'softmax_native.node');
  const emulated = { SOFTMAX_NATIVE_LIBRARY: library, SOFTMAX_EMULATED_DEVICE: 'sm_90' };

  it('are listed and tested, with the costs of auto', ({ skip }) => {
    skip(!existsSync(library), `${library} was not built`);
    const found = report(0, { ...emulated, SOFTMAX_EMULATED_DEVICES: '2' });
    expect(found.cuda).toMatchObject({
      available: true,
      devices: [
        { device: 'cuda:0', usable: true },
        { device: 'cuda:1', usable: true },
      ],
      auto: { started: true, source: 'measured' },
    });
    expect(found.selfTests).toEqual([passed('cpu'), passed('cuda:0'), passed('cuda:1')]);

    const { stdout } = command(['doctor'], emulated);
    expect(stdout).toMatch(
      /^GPU +cuda:0, NVIDIA H100 .*, compute capability 9\.0, .* multiprocessors: can be used$/m,
    );
    expect(stdout).toMatch(/'auto' counts with measured costs: upload \S+ GB\/s, /);
    expect(stdout).toMatch(/^ +softmax 8192 x 1000 +(CPU|GPU) +\(CPU \S+ [mµ]?s, GPU \S+ [mµ]?s\)$/m);
  });

  it('that cannot be used are no failure, and it says why', ({ skip }) => {
    skip(!existsSync(library), `${library} was not built`);
    const old = { ...emulated, SOFTMAX_EMULATED_DEVICE: 'sm_70' };
    const { status, stdout } = command(['doctor'], old);
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /^GPU +none is used\. cuda:0, .*, cannot be used: its compute capability 7\.0 is below 7\.5/m,
    );
  });
});

describe('the command line', () => {
  it.each([[['--help']], [['-h']], [['doctor', '--help']]])('%j says how it is used', (args) => {
    const { status, stdout, stderr } = command(args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^Usage: softmax-native doctor \[--json\]\n/);
  });

  it('--version gives the version of the package', () => {
    expect(command(['--version'])).toEqual({ status: 0, signal: null, stdout: `${version}\n`, stderr: '' });
  });

  it.each([
    [[]],
    [['nurse']],
    [['doctor', 'again']],
    [['doctor', '--yaml']],
    [['--json']],
    [['doctor', '--json=1']],
  ])('%j ends with 2', (args) => {
    const { status, stdout, stderr } = command(args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/\n\nUsage: softmax-native doctor/);
  });

  it('is the one that the package has', () => {
    const { bin } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { bin: object };
    expect(bin).toEqual({ 'softmax-native': './dist/cli.js' });
    expect(readFileSync(path.join(root, 'dist/cli.js'), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });
});
