// The event loop while calls compute in the background: how late a timer of one millisecond is, and how long the call
// itself keeps the thread, which copies x unless it is handed over or shared. Beside each the synchronous call, which
// keeps the thread for all of its time.
//
//   node bench/async.mjs [--quick] [--output FOLDER] [--json] [--markdown]
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import * as sync from 'softmax-native';
import * as promises from 'softmax-native/promises';
import { reportOptions, write } from './report.mjs';
import { machine, median, normalNumbers, progress } from './support.mjs';

const options = reportOptions();
const rounds = options.quick ? 3 : 9;
const [rows, k] = options.quick ? [10_000, 1000] : [100_000, 1000];
const shape = [rows, k];
const softmaxName = `softmax ${rows.toLocaleString('en-US')} x ${k.toLocaleString('en-US')}`;
const jacobianRows = options.quick ? 30 : 300;
const jacobianShape = [jacobianRows, k];
const jacobianName = `jacobian ${jacobianRows} x ${k.toLocaleString('en-US')}`;

const logits = normalNumbers(new Float32Array(rows * k));
const shared = (array) => new Float32Array(new SharedArrayBuffer(array.byteLength)).fill(0);
const sharedLogits = shared(logits);
sharedLogits.set(logits);
const few = logits.slice(0, jacobianRows * k);

const softmaxOf = (x, more) => () => promises.softmax(x(), { shape, ...more });
const cases = [
  {
    name: softmaxName,
    way: 'x is copied',
    sync: () => sync.softmax(logits, { shape }),
    call: softmaxOf(() => logits),
  },
  {
    name: softmaxName,
    way: 'x is handed over',
    prepare: () => logits.slice(),
    sync: () => sync.softmax(logits, { shape }),
    call: (x) => promises.softmax(x, { shape, transfer: true }),
  },
  {
    name: softmaxName,
    way: 'x and out are shared memory',
    prepare: () => shared(logits),
    sync: (out) => sync.softmax(sharedLogits, { shape, out }),
    call: (out) => promises.softmax(sharedLogits, { shape, out }),
  },
  {
    name: softmaxName,
    way: 'x is shared memory, out is not',
    prepare: () => new Float32Array(rows * k),
    sync: (out) => sync.softmax(sharedLogits, { shape, out }),
    call: (out) => promises.softmax(sharedLogits, { shape, out }),
  },
  {
    name: jacobianName,
    way: 'x is copied',
    sync: () => sync.softmaxJacobian(few, { shape: jacobianShape }),
    call: () => promises.softmaxJacobian(few, { shape: jacobianShape }),
  },
];

/** Milliseconds of one round, each. */
async function round({ prepare = () => undefined, sync: block, call }) {
  const argument = prepare();
  globalThis.gc?.();
  await sleep(20);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await sleep(5);
  delay.reset();
  const start = performance.now();
  const result = call(argument);
  const called = performance.now();
  // From here on the loop is free; what the call kept it for is counted apart.
  delay.reset();
  await result;
  const total = performance.now() - start;
  delay.disable();
  const blocking = prepare();
  const before = performance.now();
  block(blocking);
  // The timer is to come every millisecond; what it is later than that is the delay.
  const late = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - 1);
  return {
    call: called - start,
    total,
    sync: performance.now() - before,
    late99: late(delay.percentile(99)),
    latest: late(delay.max),
  };
}

const results = [];
for (const candidate of cases) {
  progress(`${candidate.name}, ${candidate.way}`);
  const all = [];
  for (let i = 0; i < rounds; i++) all.push(await round(candidate));
  const figure = (name) => median(all.map((one) => one[name]));
  results.push({
    name: candidate.name,
    way: candidate.way,
    call: figure('call'),
    late99: figure('late99'),
    latest: figure('latest'),
    total: figure('total'),
    sync: figure('sync'),
  });
}

const ms = (value) => `${value.toPrecision(3)} ms`;
const lines = results.map((r) => [
  r.name,
  r.way,
  ms(r.call),
  ms(r.late99),
  ms(r.latest),
  ms(r.total),
  ms(r.sync),
]);
const head = ['', 'memory', 'the call', 'loop late, 99 %', 'at most', 'until the result', 'synchronous'];
const title = 'The event loop while calls compute in the background';
write({ benchmark: 'async', ...machine(), rounds, results }, [{ title, lines: [head, ...lines] }], options);
