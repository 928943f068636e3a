// Builds the native code with GCC's sanitizers and runs it: with AddressSanitizer and UndefinedBehaviorSanitizer the tests
// of vitest.config.ts beside this, in processes that load AddressSanitizer before Node.js; with ThreadSanitizer, and with
// the others too, calls from several threads at once and jobs (test/native/race_check.cpp and queue_check.cpp).
//
//   npm run test:sanitizers -- [--project=sanitized-scalar] [test/unit/small.test.ts]...    all tests, or these
//
// It ends with 1 at the first finding, after printing it, and where a sanitizer does not see a planted fault.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const reports = path.join(root, 'build-sanitized', 'reports');

build('build-sanitized-thread', 'thread', ['race_check', 'queue_check']);
// The emulated GPUs take most of the time: they are left out where only other projects are asked for.
const given = process.argv.slice(2);
const projects = given.filter((arg) => arg.startsWith('--project='));
const withGpus = projects.length === 0 || projects.some((project) => project.includes('emulated'));
build('build-sanitized', 'address,undefined', [
  'race_check',
  'queue_check',
  'softmax_native',
  ...(withGpus ? ['softmax_native_emulated'] : []),
]);
rmSync(reports, { recursive: true, force: true });
mkdirSync(reports);

const isas = ['scalar', 'avx2', 'avx512'];
for (const folder of ['build-sanitized-thread', 'build-sanitized']) {
  const fault = folder === 'build-sanitized' ? 'overrun' : 'race';
  const seen = fault === 'race' ? /ThreadSanitizer: data race/ : /AddressSanitizer: heap-buffer-overflow/;
  const planted = race(folder, ['--plant', fault], 'scalar');
  if (planted.status === 0 || !seen.test(planted.stderr))
    fail(`A planted fault was not found: ${planted.stderr}`);
  for (const isa of isas) {
    const { status, stdout, stderr } = race(folder, ['2'], isa);
    if (/SOFTMAX_NATIVE_ISA is/.test(stderr))
      console.warn(`${isa} is not run: this processor does not have it`);
    else if (status === 0 && stderr === '') console.log(`${folder}: ${stdout.trim()}`);
    else fail(stderr);
  }
}

for (const folder of ['build-sanitized-thread', 'build-sanitized']) {
  const { status, stdout, stderr } = program(folder, 'queue_check', [], isas[0]);
  if (status === 0 && stderr === '') console.log(`${folder}: ${stdout.trim()}`);
  else fail(stdout + stderr);
}

const library = (name) => execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
// Node.js leaves memory to the end of the process, and the emulated GPUs run on stacks of their own.
const options = `halt_on_error=1:log_path=${path.join(reports, 'report')}`;
const { status } = spawnSync(
  process.execPath,
  [
    path.join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--config',
    'test/sanitizers/vitest.config.ts',
    ...given,
  ],
  {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      LD_PRELOAD: `${library('libasan.so')}:${library('libubsan.so')}`,
      ASAN_OPTIONS: `detect_leaks=0:detect_stack_use_after_return=0:${options}`,
      UBSAN_OPTIONS: `print_stacktrace=1:${options}`,
    },
  },
);
const found = readdirSync(reports).map((name) => readFileSync(path.join(reports, name), 'utf8'));
if (status !== 0 || found.length > 0)
  fail([...found, 'The tests of test/sanitizers/vitest.config.ts failed.'].join('\n'));

/** Tests, libraries and programs that are built with these sanitizers. */
function build(folder, sanitizers, targets) {
  if (!existsSync(path.join(root, folder, 'CMakeCache.txt'))) {
    const settings = ['--CDSOFTMAX_CUDA=OFF', `--CDSOFTMAX_SANITIZE=${sanitizers}`];
    run('npx', ['cmake-js', 'configure', '--out', folder, ...settings]);
  }
  run('cmake', ['--build', folder, '--parallel', String(availableParallelism()), '--target', ...targets]);
}

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28 });
  if (result.error) throw result.error;
  if (result.status !== 0) fail(`${command} ${args.join(' ')} failed:\n${result.stdout}${result.stderr}`);
}

function race(folder, args, isa) {
  return program(folder, 'race_check', args, isa);
}

function program(folder, name, args, isa) {
  const result = spawnSync(path.join(root, folder, 'programs', name), args, {
    encoding: 'utf8',
    env: {
      ...process.env,
      SOFTMAX_NATIVE_ISA: isa,
      OMP_WAIT_POLICY: 'passive',
      TSAN_OPTIONS: 'halt_on_error=1',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
  });
  if (result.error) throw result.error;
  return result;
}

function fail(text) {
  console.error(text);
  process.exit(1);
}
