// Runs the benchmarks one after another, each in a process of its own.
//
//   npm run bench -- [--suite NAME]... [--quick] [--threads N] [--only TEXT]
//                    [--json] [--markdown] [--svg] [--output FOLDER]
//
//   small, batch, rows, axis, jacobian   this library beside every peer that is installed: suites.mjs
//   special                              rows of subnormal results, masked rows and the like beside ordinary ones
//   threads                              what more threads bring, and what they cost on a loaded machine
//   idle                                 processor time between calls
//   async                                the event loop while calls compute in the background
//   accuracy                             the worst errors in units in the last place
//   gpu                                  where there is a GPU: every kernel beside a copy and Python libraries
//
// --json, --markdown and --svg write the results, tables and plots to FOLDER (bench/results). --quick takes less time for
// rougher figures, and leaves idle and accuracy out unless they are named. --only leaves out the cases of comparisons
// whose name in the tables does not contain TEXT.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { comparisons } from './suites.mjs';

const usage = `npm run bench -- [--suite NAME]... [options]

  --suite NAME     small, batch, rows, axis, jacobian, special, threads, idle, async, accuracy or gpu; all of them, some
                   20 minutes, where none is named
  --quick          rough figures, 3 minutes for all suites but idle and accuracy
  --only TEXT      of small, batch, rows, axis and jacobian only the cases with this text in their names
  --threads N      the most threads that a candidate may use
  --json --markdown --svg
                   what is written to the folder that --output names (bench/results)

npm run bench:peers installs the libraries to compare with; BENCH_PYTHON names the Python that has others.`;

const programs = {
  ...Object.fromEntries(comparisons.map((suite) => [suite, 'compare.mjs'])),
  special: 'special-rows.mjs',
  threads: 'threads.mjs',
  idle: 'idle.mjs',
  async: 'async.mjs',
  accuracy: 'accuracy.mjs',
  gpu: 'gpu.mjs',
};
const { values: options } = read({
  options: {
    suite: { type: 'string', multiple: true },
    quick: { type: 'boolean' },
    threads: { type: 'string' },
    only: { type: 'string' },
    json: { type: 'boolean' },
    markdown: { type: 'boolean' },
    svg: { type: 'boolean' },
    output: { type: 'string', default: fileURLToPath(new URL('results', import.meta.url)) },
    help: { type: 'boolean' },
  },
});

function read(config) {
  try {
    return parseArgs(config);
  } catch (error) {
    return refuse(`${error.message}\n\n${usage}`);
  }
}

function refuse(text) {
  console.error(text);
  process.exit(2);
}

const all = Object.keys(programs).filter((suite) => !options.quick || !['idle', 'accuracy'].includes(suite));
const suites = options.suite ?? all;
const output = path.resolve(options.output);

if (options.help) {
  console.log(usage);
  process.exit(0);
}
for (const suite of suites) {
  if (!(suite in programs)) {
    refuse(`Expected one of ${Object.keys(programs).join(', ')} for --suite but received ${suite}`);
  }
}
if (options.threads !== undefined && !/^[1-9]\d{0,3}$/.test(options.threads)) {
  refuse(`Expected a number of threads from 1 to 9999 for --threads but received ${options.threads}`);
}
if (options.json || options.markdown || options.svg) {
  try {
    mkdirSync(output, { recursive: true });
  } catch (error) {
    refuse(`No results can be written to --output: ${error.message}`);
  }
}

const flags = ['quick', 'json', 'markdown', 'svg'].filter((name) => options[name]).map((name) => `--${name}`);
const named = ['threads', 'only'].flatMap((name) => (options[name] ? [`--${name}`, options[name]] : []));
const given = [...flags, '--output', output, ...named];
// The GPU's suite has options of its own: its results are kept, as a GPU is not always at hand.
const keepGpu = options.json || !options.quick ? ['--json', path.join(output, 'gpu.json')] : [];
const gpuOptions = [...(options.quick ? ['--quick'] : []), ...keepGpu];
for (const suite of suites) {
  console.log(`\n${suite}`);
  const program = fileURLToPath(new URL(programs[suite], import.meta.url));
  const own = suite === 'gpu' ? gpuOptions : [suite, ...given];
  // Arrays are freed between cases, not within one.
  const { status } = spawnSync(process.execPath, ['--expose-gc', program, ...own], {
    stdio: 'inherit',
    // Arrays are compared on the CPU, also where there is a GPU.
    env: suite === 'gpu' ? process.env : { SOFTMAX_NATIVE_DEVICE: 'cpu', ...process.env },
  });
  if (status !== 0) process.exit(status ?? 1);
}
