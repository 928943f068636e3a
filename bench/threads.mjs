// What more threads bring: times on one thread and on more, on a machine with nothing else to do and with a busy process
// for every processor, and the size from which on a second thread is worth waking.
//
//   node bench/threads.mjs [--quick] [--threads N] [--output FOLDER] [--json] [--markdown]
import { spawn } from 'node:child_process';
import os from 'node:os';
import { makeCase, makeData } from './cases.mjs';
import { compare, ratioOf } from './engine.mjs';
import { ours } from './ours.mjs';
import { startKernels } from './peers/subprocess.mjs';
import { reportOptions, write } from './report.mjs';
import { machine, progress } from './support.mjs';
import { duration, nameOf, significant } from './tables.mjs';
import { timerOf } from './timer.mjs';

const options = reportOptions();
const { quick, threads } = options;
const effort = {
  budget: quick ? 0.5 : 3,
  sample: 2e6,
  fewestRounds: 5,
  mostRounds: quick ? 9 : 41,
  slowest: 1,
};
const memory = 'cache';

const counts = [1];
for (let count = 2; count < threads; count *= 2) counts.push(count);
if (threads > 1) counts.push(threads);

const shapes = [
  { outer: 300, k: 1000 },
  { outer: 4000, k: 1000 },
  { outer: 400_000, k: 10 },
  { outer: 1, k: 4_000_000 },
  { outer: 1, k: 4000, inner: 1000 },
  { operation: 'jacobian', outer: 8, k: 1000 },
];

const results = await measureCounts('idle machine');
const stop = await loadProcessors();
const loaded = await measureCounts('loaded machine');
stop();
const sizes = threads > 1 ? await measureSizes() : [];

const report = { benchmark: 'threads', ...machine(), threads, quick, results, loaded, sizes };
write(report, [countTable(), sizeTable()], options);

/** For every case the times on each number of threads, all in the same rounds. */
async function measureCounts(title) {
  const measured = [];
  for (const shape of shapes) {
    const cases = counts.map((count) => makeCase({ ...shape, memory, threads: count }));
    progress(`${title}: ${nameOf(cases[0])}`, true);
    const data = makeData(cases[0]);
    const candidates = cases.map((c) => {
      const [{ call }] = ours.candidates(c, data);
      const timed = timerOf({ call }, 1);
      return { peer: ours.name, threads: c.threads, time: async (calls) => timed(calls) };
    });
    const all = await compare(candidates, effort);
    for (const result of all) {
      const speedUp = 1 / ratioOf(result, all[0]);
      measured.push({ case: nameOf(cases[0]), threads: result.threads, nanoseconds: result.median, speedUp });
    }
  }
  return measured;
}

/** Starts a process that computes without end for every processor; the result stops them. */
async function loadProcessors() {
  const busy = os.cpus().map(() => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }));
  await new Promise((resolve) => setTimeout(resolve, 300));
  return () => busy.forEach((child) => child.kill());
}

/** Kernels on one thread, on all threads, and as the library chooses, by the number of logits. */
async function measureSizes() {
  const asChosen = startKernels();
  const always = startKernels('--always-all-threads');
  await Promise.all([asChosen.next(), always.next()]);
  const single = startKernels();
  await single.next();
  const measured = [];
  for (let rows = 4; rows <= 4096; rows *= quick ? 4 : Math.SQRT2) {
    const c = makeCase({ outer: Math.round(rows), k: 1000, memory, threads });
    progress(`one thread or ${threads}: ${nameOf(c)}`, true);
    const kernelOf = async (program, count) => (await program.prepare({ ...c, threads: count }))[0];
    const candidates = [
      await kernelOf(single, 1),
      await kernelOf(always, threads),
      await kernelOf(asChosen, threads),
    ];
    const [one, all, chosen] = await compare(candidates, { ...effort, budget: quick ? 0.1 : 0.5 });
    measured.push({ elements: c.elements, one: one.median, all: all.median, chosen: chosen.median });
  }
  for (const program of [asChosen, always, single]) program.close();
  return measured;
}

function countTable() {
  return {
    title:
      'Whole calls by the number of threads: how many times as fast as one thread, and that for each thread',
    lines: [
      ['case', 'threads', 'time', 'speed-up', 'efficiency', 'speed-up on a loaded machine'],
      ...results.map((result, i) => [
        result.case,
        String(result.threads),
        duration(result.nanoseconds),
        significant(result.speedUp),
        `${Math.round((100 * result.speedUp) / result.threads)} %`,
        significant(loaded[i].speedUp),
      ]),
    ],
  };
}

function sizeTable() {
  return {
    title: `Softmax of rows of 1000 on one thread, on ${threads}, and as the library chooses`,
    lines: [
      ['logits', 'one thread', `${threads} threads`, 'as chosen'],
      ...sizes.map(({ elements, one, all, chosen }) => [
        elements.toLocaleString('en'),
        duration(one),
        duration(all),
        duration(chosen),
      ]),
    ],
  };
}
