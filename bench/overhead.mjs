// What a call costs beside its arithmetic: one row of four logits, in nanoseconds a call, beside plain JavaScript.
//
//   node bench/overhead.mjs [--json FILE]
import { parseArgs } from 'node:util';
import { rowMax, softmax, softmaxJacobian } from 'softmax-native';
import { machine, medianTimes, writeResult } from './support.mjs';

const { values: options } = parseArgs({ options: { json: { type: 'string' } } });

function plainSoftmax(x, out) {
  let max = -Infinity;
  for (let j = 0; j < x.length; j++) if (x[j] > max) max = x[j];
  let sum = 0;
  for (let j = 0; j < x.length; j++) sum += out[j] = Math.exp(x[j] - max);
  for (let j = 0; j < x.length; j++) out[j] /= sum;
  return out;
}

const x = Float32Array.of(1.25, 2.44, 0.78, 0.12);
const out = new Float32Array(4);
const max = new Float32Array(1);
const argmax = new Int32Array(1);
const entries = new Float32Array(16);
const shape = [1, 4];

const cases = {
  'softmax(x, { shape: [1, 4], out })': () => softmax(x, { shape: [1, 4], out }),
  'softmax(x, { shape, out })': () => softmax(x, { shape, out }),
  'softmax(x, { out })': () => softmax(x, { out }),
  'softmax(x), a new array each': () => softmax(x),
  'softmax of a number[]': () => softmax([1.25, 2.44, 0.78, 0.12]),
  'rowMax(x, { out: { max, argmax } })': () => rowMax(x, { out: { max, argmax } }),
  'softmaxJacobian(x, { out })': () => softmaxJacobian(x, { out: entries }),
  'softmax in plain JavaScript': () => plainSoftmax(x, out),
};

// Enough for the compiler to have optimised all of it.
for (const call of Object.values(cases)) for (let i = 0; i < 100_000; i++) call();
const times = medianTimes(Object.values(cases), { rounds: 101 });

const results = Object.keys(cases).map((name, i) => ({ call: name, nanoseconds: Math.round(times[i]) }));
console.table(results);
writeResult(options.json, { machine: machine(), results });
