// The event loop while calls compute in the background: how late a timer of one millisecond is, and how long the call
// itself keeps the thread, which copies x unless it is handed over or shared. Beside each the synchronous call, which
// keeps the thread for all of its time. Buffers of hundreds of megabytes make V8 collect garbage, which takes some
// milliseconds whoever uses them: the timer's delay is given with and without that. And calls that use one thread each, all
// begun at once, beside the same calls one after another.
//
//   node bench/async.mjs [--quick] [--output FOLDER] [--json] [--markdown]
import { PerformanceObserver } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import * as sync from 'softmax-native';
import * as promises from 'softmax-native/promises';
import { reportOptions, write } from './report.mjs';
import { machine, median, normalNumbers, progress, quantile } from './support.mjs';

const options = reportOptions();
const rounds = options.quick ? 3 : 15;
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

const collections = [];
new PerformanceObserver((list) => collections.push(...list.getEntries())).observe({ entryTypes: ['gc'] });

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

/** Milliseconds of one round. Those that a timer of one millisecond is late go to `delays`, but for the call itself. */
async function round({ prepare = () => undefined, sync: block, call }, delays) {
  const argument = prepare();
  // The memory of the round before is given back now, not while the loop is watched.
  globalThis.gc?.();
  await sleep(100);
  const start = performance.now();
  const result = call(argument);
  const called = performance.now();
  let last = called;
  const timer = setInterval(() => {
    const now = performance.now();
    delays.push({ from: last, to: now });
    last = now;
  }, 1);
  await result;
  const end = performance.now();
  clearInterval(timer);
  // What was done last may have kept the thread too.
  delays.push({ from: last, to: end });
  const blocking = prepare();
  const before = performance.now();
  block(blocking);
  return { call: called - start, total: end - start, sync: performance.now() - before };
}

/** How much of a span of time V8 has collected garbage, in milliseconds. */
function collecting(from, to) {
  const inSpan = ({ startTime, duration }) =>
    Math.max(0, Math.min(to, startTime + duration) - Math.max(from, startTime));
  return collections.reduce((sum, entry) => sum + inSpan(entry), 0);
}

const results = [];
for (const candidate of cases) {
  progress(`${candidate.name}, ${candidate.way}`);
  const delays = [];
  const all = [];
  for (let i = 0; i < rounds; i++) all.push(await round(candidate, delays));
  await sleep(50); // until the collections are known
  const late = delays.map(({ from, to }) => Math.max(0, to - from - 1));
  const lateByOthers = delays.map(({ from, to }) => Math.max(0, to - from - 1 - collecting(from, to)));
  const figure = (name) => median(all.map((one) => one[name]));
  results.push({
    name: candidate.name,
    way: candidate.way,
    call: figure('call'),
    late99: quantile(late, 0.99),
    latest: Math.max(...late),
    lateByOthers99: quantile(lateByOthers, 0.99),
    samples: delays.length,
    total: figure('total'),
    sync: figure('sync'),
  });
}

/** Milliseconds for calls on one thread each: all at once in the background, and synchronously in turn. */
async function overlapping(rowsOfCall) {
  const count = 16;
  const callShape = [rowsOfCall, k];
  const inputs = Array.from({ length: count }, () => shared(new Float32Array(rowsOfCall * k)));
  for (const input of inputs) input.set(logits.subarray(0, input.length));
  const outs = inputs.map(shared);
  const optionsOf = (i) => ({ shape: callShape, out: outs[i], threads: 1 });
  const all = [];
  for (let i = 0; i < 3 * rounds; i++) {
    const start = performance.now();
    await Promise.all(inputs.map((input, n) => promises.softmax(input, optionsOf(n))));
    const between = performance.now();
    inputs.forEach((input, n) => sync.softmax(input, optionsOf(n)));
    all.push({ atOnce: between - start, inTurn: performance.now() - between });
  }
  const figure = (name) => median(all.map((one) => one[name]));
  return { count, shape: callShape, atOnce: figure('atOnce'), inTurn: figure('inTurn') };
}

progress('calls at once');
const calls = [];
for (const rowsOfCall of [1000, 200]) calls.push(await overlapping(rowsOfCall));

const ms = (value) => `${value.toPrecision(3)} ms`;
const lines = results.map((r) => [
  r.name,
  r.way,
  ms(r.call),
  ms(r.late99),
  ms(r.lateByOthers99),
  ms(r.latest),
  ms(r.total),
  ms(r.sync),
]);
const head = [
  '',
  'memory',
  'the call',
  'loop late, 99 %',
  'but for V8',
  'at most',
  'until the result',
  'synchronous',
];
const title = 'The event loop while calls compute in the background';
const linesOfCalls = calls.map(({ count, shape: [n], atOnce, inTurn }) => [
  `${count} calls of ${n.toLocaleString('en-US')} x ${k.toLocaleString('en-US')}`,
  ms(atOnce),
  ms(inTurn),
  (atOnce / inTurn).toFixed(2),
]);
const tables = [
  { title, lines: [head, ...lines] },
  {
    title: 'Calls on one thread each',
    lines: [['', 'at once, in the background', 'in turn', 'ratio'], ...linesOfCalls],
  },
];
write({ benchmark: 'async', ...machine(), rounds, results, calls }, tables, options);
