// What rows cost whose results are subnormal, masked or far apart, beside ordinary rows of the same size.
//
//   node bench/special-rows.mjs [--json FILE]
//
// Each kind is measured in turn, again and again, so that a busy machine slows them alike; the figures are medians, as
// ratios to the ordinary rows of the same run. A plain JavaScript loop is measured beside them.
import { parseArgs } from 'node:util';
import { softmax } from 'softmax-native';
import { machine, medianTimes, plainSoftmax, random, writeResult } from './support.mjs';

const { values: options } = parseArgs({ options: { json: { type: 'string' } } });

const rows = 256;
const k = 1000;

const kinds = {
  ordinary: (next) => 3 * gaussian(next),
  'results around 2^-126': (next, j) => (j === 0 ? 0 : -80 - 15 * next()),
  'results below 2^-126': (next, j) => (j === 0 ? 0 : -88 - 15 * next()),
  'results far below': (next, j) => (j === 0 ? 0 : -1000 * (1 + next())),
  'nine in ten -Infinity': (next) => (next() < 0.9 ? -Infinity : 3 * gaussian(next)),
  'all but one -Infinity': (_, j) => (j === 0 ? 0 : -Infinity),
  'spread of 300': (next) => 300 * gaussian(next),
  'beyond 2^16': (next) => 1e6 + 3 * gaussian(next),
};

/** A normally distributed number, after Box and Muller. */
function gaussian(next) {
  return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

function measure(Type) {
  const shape = [rows, k];
  const inputs = Object.entries(kinds).map(([kind, logit]) => {
    const next = random(1);
    return [kind, Type.from({ length: rows * k }, (_, i) => logit(next, i % k))];
  });
  const out = new Type(rows * k);
  const ours = medianTimes(
    inputs.map(
      ([, x]) =>
        () =>
          softmax(x, { shape, out, threads: 1 }),
    ),
  );
  const loop = medianTimes(
    inputs.map(
      ([, x]) =>
        () =>
          plainSoftmax(x, out, k),
    ),
  );
  return inputs.map(([kind], i) => ({
    type: Type.name,
    kind,
    nanosecondsPerElement: ours[i] / (rows * k),
    ratio: ours[i] / ours[0],
    plainLoopRatio: loop[i] / loop[0],
  }));
}

const results = [...measure(Float32Array), ...measure(Float64Array)];
console.table(
  results.map((r) => ({
    type: r.type,
    rows: r.kind,
    'ns/element': r.nanosecondsPerElement.toFixed(2),
    'to ordinary': r.ratio.toFixed(2),
    'plain loop, to ordinary': r.plainLoopRatio.toFixed(2),
  })),
);
writeResult(options.json, { benchmark: 'special-rows', rows, k, ...machine(), results });
