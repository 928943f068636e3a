// Measures a suite of cases side by side: this library, its kernels without Node, memory, and every peer that is there.
//
//   node --expose-gc bench/compare.mjs SUITE [--quick] [--threads N] [--only TEXT]
//                                            [--json] [--markdown] [--svg] [--output FOLDER]
//
// engine.mjs says how the candidates take turns, suites.mjs which cases there are.
import { cacheBytes, looksRight, makeData } from './cases.mjs';
import { compare, ratioOf } from './engine.mjs';
import { forms, ours } from './ours.mjs';
import * as javascript from './peers/javascript.mjs';
import * as onnxruntime from './peers/onnxruntime.mjs';
import { startKernels, startPython } from './peers/subprocess.mjs';
import * as tfjs from './peers/tfjs.mjs';
import * as transformers from './peers/transformers.mjs';
import { reportOptions, write } from './report.mjs';
import { findSteps } from './steps.mjs';
import { casesOf } from './suites.mjs';
import { machine, progress } from './support.mjs';
import { nameOf, significant, tablesOf } from './tables.mjs';
import { timerOf } from './timer.mjs';

const options = reportOptions();
const { quick, threads } = options;
const suite = process.argv[2];

const cases = casesOf(suite, { quick, threads }).filter((c) => nameOf(c).includes(options.only));
if (cases.length === 0) {
  console.log(`No case of ${suite} has ${options.only} in its name.`);
  process.exit(0);
}

const kernels = startKernels();
let python = startPython();
const peers = await loadPeers();
const report = {
  benchmark: suite,
  ...machine(),
  threads,
  cacheBytes,
  quick,
  peers: peers.map(({ name, version, absent }) => ({ name, version, absent })),
  cases: [],
};
for (const { name, version, absent } of report.peers) {
  progress(absent === undefined ? `${name} ${version}` : `${name} is absent: ${absent}`);
}
if (report.peers.some(({ absent }) => absent !== undefined)) {
  progress('npm run bench:peers installs those that can be had here');
}

for (const [i, c] of cases.entries()) {
  report.cases.push(await measure(c, `[${i + 1}/${cases.length}] ${nameOf(c)}`));
  globalThis.gc?.(); // frees the arrays of the case
}
if (suite === 'small') report.forms = await measureForms();
if (suite === 'rows') report.steps = await findSteps({ quick, progress });
kernels.close();
python?.close();
write(report, tablesOf(report), options);

async function loadPeers() {
  await kernels.next();
  const inProcess = await Promise.all(
    [
      ['JavaScript', javascript.load],
      ['ONNX Runtime', onnxruntime.load],
      ['TensorFlow.js cpu', () => tfjs.load('cpu')],
      ['TensorFlow.js wasm', () => tfjs.load('wasm')],
      ['transformers.js', transformers.load],
    ].map(async ([name, load]) => {
      try {
        return await load();
      } catch (error) {
        const missing = error.code === 'ERR_MODULE_NOT_FOUND';
        return { name, absent: missing ? 'not installed' : error.message.split('\n')[0] };
      }
    }),
  );
  let inPython;
  try {
    ({ peers: inPython } = await python.next());
  } catch (error) {
    inPython = [{ name: 'Python', absent: error.message }];
    python = undefined;
  }
  return [...inProcess, ...inPython];
}

/** One case with all candidates that can do it. */
async function measure(c, title) {
  const data = makeData(c);
  const rotation = { slot: 0 };
  const candidates = [];
  const releases = [];
  for (const library of [ours, ...peers]) {
    for (const candidate of (await library.candidates?.(c, data)) ?? []) {
      const { call, wait, before, after, read = (result) => result, release } = candidate;
      if (release !== undefined) releases.push(release);
      const timed = timerOf({ call, wait }, c.slots, rotation);
      let isRight;
      candidates.push({
        peer: library.name,
        variant: candidate.variant,
        group: 'call',
        async time(calls, awake) {
          // A result that is not written is not to pass for another candidate's.
          if (isRight === undefined) for (const out of data.outs ?? []) out.fill(NaN, 0, c.k * c.inner);
          await before?.();
          const nanoseconds = await timed(calls);
          isRight ??= looksRight(candidate.case ?? c, read(rotation.result));
          rotation.result = undefined;
          if (!isRight) throw new Error('a wrong result');
          if (!awake) await after?.();
          return nanoseconds;
        },
      });
    }
  }
  for (const candidate of await prepare(kernels, c)) {
    if (candidate.group === 'kernel' || c.memory === 'dram')
      candidates.push({ variant: 'out', ...candidate });
  }
  for (const candidate of python === undefined ? [] : await prepare(python, c))
    candidates.push({ group: 'call', ...candidate });

  const results = await compare(candidates, {
    ...(quick
      ? { budget: 0.7, sample: 1e6, fewestRounds: 3, mostRounds: 7, slowest: 0.1 }
      : { budget: 4, sample: 4e6, fewestRounds: 5, mostRounds: 25, slowest: 0.7 }),
    onTurn: ({ peer, variant }, round, rounds) =>
      progress(
        `${title}: ${round === undefined ? 'warming up' : `${round + 1} of ${rounds},`} ${peer} ${variant}`,
        true,
      ),
  });
  for (const release of releases) await release();

  const own = { out: results[0], fresh: results[1] };
  if (own.out.failure !== undefined) throw new Error(`${title}: ${own.out.failure}`);
  const measured = results.map(({ samples, ...result }) => {
    if (result.failure !== undefined) return result;
    return {
      ...result,
      gigabytesPerSecond: (result.bytes ?? c.bytes) / result.median,
      // How many times as long as this library takes for the same.
      ratio: ratioOf({ samples, ...result }, own[result.variant] ?? own.out),
    };
  });
  const best = measured
    .filter(({ group, peer, failure }) => group === 'call' && peer !== ours.name && failure === undefined)
    .toSorted((a, b) => a.ratio - b.ratio)[0];
  progress(
    `${title}: ${significant(measured[0].gigabytesPerSecond)} GB/s` +
      (best === undefined ? '' : `; ${best.peer} takes ${significant(best.ratio)} times as long`),
  );
  return { ...c, results: measured };
}

async function prepare(subprocess, c) {
  try {
    return await subprocess.prepare(c);
  } catch (error) {
    progress(`${nameOf(c)}: ${error.message}`);
    return [];
  }
}

async function measureForms() {
  const plain = new Float32Array(4);
  const x = Float32Array.of(1.25, 2.44, 0.78, 0.12);
  const loops = await import('./plain-loops.mjs?forms');
  const all = [...forms, { form: 'softmax in plain JavaScript', call: () => loops.softmax(x, plain, 4) }];
  const results = await compare(
    all.map(({ call }) => {
      const timed = timerOf({ call }, 1);
      return { time: async (calls) => timed(calls) };
    }),
    { budget: 2, sample: 2e6, fewestRounds: 5, mostRounds: quick ? 9 : 51, slowest: 1 },
  );
  return results.map(({ median }, i) => ({ form: all[i].form, nanoseconds: Math.round(median) }));
}
