// What rows cost whose results are subnormal, masked or far apart, beside ordinary rows of the same size.
//
//   node bench/special-rows.mjs [--quick] [--output FOLDER] [--json] [--markdown]
//
// Each kind is measured in turn, again and again, so that a busy machine slows them alike; the figures are medians, as
// ratios to the ordinary rows of the same run. A plain JavaScript loop is measured beside them.
import { softmax } from 'softmax-native';
import { reportOptions, write } from './report.mjs';
import { gaussian, machine, medianTimes, random } from './support.mjs';
import { significant } from './tables.mjs';

const options = reportOptions();
const { softmax: plainSoftmax } = await import('./plain-loops.mjs');

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

function measure(Type) {
  const shape = [rows, k];
  const inputs = Object.entries(kinds).map(([kind, logit]) => {
    const next = random(1);
    return [kind, Type.from({ length: rows * k }, (_, i) => logit(next, i % k))];
  });
  const out = new Type(rows * k);
  const timesOf = (call) =>
    medianTimes(
      inputs.map(
        ([, x]) =>
          () =>
            call(x),
      ),
      { rounds: options.quick ? 5 : 31 },
    );
  const own = timesOf((x) => softmax(x, { shape, out, threads: 1 }));
  const loop = timesOf((x) => plainSoftmax(x, out, k));
  return inputs.map(([kind], i) => ({
    dtype: Type === Float32Array ? 'float32' : 'float64',
    kind,
    nanosecondsPerElement: own[i] / (rows * k),
    ratio: own[i] / own[0],
    plainLoopRatio: loop[i] / loop[0],
  }));
}

const results = [...measure(Float32Array), ...measure(Float64Array)];
const report = { benchmark: 'special', ...machine(), threads: 1, quick: options.quick, rows, k, results };
const lines = results.map((r) => [
  `${r.dtype}, ${r.kind}`,
  significant(r.nanosecondsPerElement),
  significant(r.ratio),
  significant(r.plainLoopRatio),
]);
const title = `Rows of ${k} logits, on one thread, beside ordinary ones`;
write(
  report,
  [{ title, lines: [['rows', 'ns/element', 'to ordinary', 'plain loop, to ordinary'], ...lines] }],
  options,
);
