// Softmax and its Jacobian over many sizes, beside a plain JavaScript loop and beside a copy (a fill for the Jacobian)
// of as many elements, in the same run.
//
//   node bench/sizes.mjs [--json FILE]
//
// Figures are medians of rounds in which all candidates take turns, on all threads and on one.
import { parseArgs } from 'node:util';
import { softmax, softmaxJacobian } from 'softmax-native';
import { machine, medianTimes, plainSoftmax, random, writeResult } from './support.mjs';

const { values: options } = parseArgs({ options: { json: { type: 'string' } } });

const softmaxShapes = [
  [1, 2],
  [1, 4],
  [1, 10],
  [1, 100],
  [1, 1000],
  [32, 1000],
  [1000, 3],
  [65536, 10],
  [1000, 32],
  [1000, 33],
  [8, 4096],
  [8, 4097],
  [1, 65536],
  [8192, 1000],
  [128, 131072],
  [1, 2 ** 24],
];
const jacobianShapes = [
  [4096, 4],
  [4096, 10],
  [1000, 33],
  [100, 100],
  [8, 1000],
  [1, 4096],
];

function plainJacobian(x, p, jacobian, k) {
  plainSoftmax(x, p, k);
  for (let row = 0, at = 0; row < x.length; row += k) {
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) jacobian[at++] = p[row + i] * ((i === j ? 1 : 0) - p[row + j]);
    }
  }
}

function logits(Type, length) {
  const next = random(1);
  return Type.from({ length }, () => 10 * next() - 5);
}

function measureSoftmax(Type, shape) {
  const [rows, k] = shape;
  const x = logits(Type, rows * k);
  const out = new Type(rows * k);
  const [all, one, loop, copy] = medianTimes(
    [
      () => softmax(x, { shape, out }),
      () => softmax(x, { shape, out, threads: 1 }),
      () => plainSoftmax(x, out, k),
      () => out.set(x),
    ],
    { rounds: rows * k > 1e6 ? 7 : 21 },
  );
  return resultOf('softmax', Type, shape, rows * k, { all, one, loop, copy });
}

function measureJacobian(Type, shape) {
  const [rows, k] = shape;
  const x = logits(Type, rows * k);
  const p = new Type(rows * k);
  const out = new Type(rows * k * k);
  const [all, one, loop, copy] = medianTimes(
    [
      () => softmaxJacobian(x, { shape, out }),
      () => softmaxJacobian(x, { shape, out, threads: 1 }),
      () => plainJacobian(x, p, out, k),
      () => out.fill(1),
    ],
    { rounds: rows * k * k > 1e6 ? 7 : 21 },
  );
  return resultOf('softmaxJacobian', Type, shape, rows * k * k, { all, one, loop, copy });
}

function resultOf(operation, Type, shape, elements, { all, one, loop, copy }) {
  return {
    operation,
    type: Type.name,
    shape,
    nanosecondsPerCall: all,
    nanosecondsPerElement: all / elements,
    oneThread: one / all,
    plainLoop: loop / all,
    copyOrFill: copy / all,
  };
}

const results = [];
for (const Type of [Float32Array, Float64Array]) {
  for (const shape of softmaxShapes) results.push(measureSoftmax(Type, shape));
  for (const shape of jacobianShapes) results.push(measureJacobian(Type, shape));
}
console.table(
  results.map((r) => ({
    operation: r.operation,
    type: r.type,
    shape: r.shape.join(' x '),
    'us/call': (r.nanosecondsPerCall / 1000).toFixed(2),
    'ns/element': r.nanosecondsPerElement.toFixed(2),
    'one thread takes': r.oneThread.toFixed(2),
    'plain loop takes': r.plainLoop.toFixed(1),
    'copy or fill takes': r.copyOrFill.toFixed(2),
  })),
);
writeResult(options.json, { benchmark: 'sizes', ...machine(), results });
