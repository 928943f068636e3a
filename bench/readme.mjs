// Writes what README.md and bench/README.md say of measurements, and the plots, from the reports in bench/results.
//
//   npm run bench:readme
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { goalLines } from './goals.mjs';
import { gpuGoals, gpuTable } from './gpu-tables.mjs';
import { plotsOf } from './plots.mjs';
import { duration, find, machineOf, nameOf, ownName, roofOf, significant, tableOf } from './tables.mjs';

const root = new URL('../', import.meta.url);
const suites = ['small', 'batch', 'rows', 'axis', 'jacobian', 'special', 'threads'];

/**
 * The files and what they should hold.
 *
 * @returns {[string, string][]}
 */
export function generated() {
  const read = (file) => readFileSync(new URL(file, root), 'utf8');
  const reports = {};
  for (const suite of suites) {
    const file = `bench/results/${suite}.json`;
    if (existsSync(new URL(file, root))) reports[suite] = JSON.parse(read(file));
  }
  const accuracy = JSON.parse(read('bench/results/accuracy.json'));
  const gpu = JSON.parse(read('bench/results/gpu.json'));
  const tables = {
    accuracy: accuracyTable(accuracy),
    speed: speedTable(reports),
    gpu: gpuTable(gpu),
    async: asyncTable(JSON.parse(read('bench/results/async.json'))),
  };
  const readme = Object.entries(tables).reduce(
    (text, [name, table]) => replaced(text, name, table),
    read('README.md'),
  );
  return [
    ['README.md', readme],
    ['bench/README.md', replaced(read('bench/README.md'), 'goals', goalsTable(reports))],
    ['bench/gpu-notes.md', replaced(read('bench/gpu-notes.md'), 'goals', gpuGoals(gpu))],
    ...Object.values(reports)
      .flatMap(plotsOf)
      .map(([name, svg]) => [`bench/results/${name}`, svg]),
  ];
}

/** A text with something else between the markers of a name. */
function replaced(text, name, content) {
  const begin = `<!-- ${name}:begin -->`;
  const end = `<!-- ${name}:end -->`;
  const [before, rest, ...more] = text.split(begin);
  const [, after, ...others] = rest?.split(end) ?? [];
  if (after === undefined || more.length + others.length > 0) {
    throw new Error(`There must be one ${begin} and, after it, one ${end}`);
  }
  return `${before}${begin}\n\n${content}\n\n${end}${after}`;
}

// The cases of README.md's table, as (operation, dtype, outer, k, inner).
const shown = [
  ['softmax', 'float32', 1, 4, 1],
  ['softmax', 'float32', 32, 1000, 1],
  ['softmax', 'float32', 65_536, 10, 1],
  ['softmax', 'float32', 1_000_000, 3, 1],
  ['softmax', 'float32', 8192, 1000, 1],
  ['softmax', 'float64', 8192, 1000, 1],
  ['softmax', 'float32', 128, 131_072, 1],
  ['softmax', 'float32', 1, 1000, 8192],
  ['jacobian', 'float32', 335_544, 10, 1],
  ['jacobian', 'float32', 33, 1000, 1],
];

function speedTable(reports) {
  const cases = Object.values(reports).flatMap((report) => report.cases ?? []);
  const found = shown.flatMap((key) => {
    const same = (c) => String([c.operation, c.dtype, c.outer, c.k, c.inner]) === String(key);
    return cases.filter(same).slice(0, 1);
  });
  // Back ends and ways of writing of one library stand together: the fastest counts.
  const families = ['JavaScript', 'ONNX Runtime', 'TensorFlow.js', 'NumPy', 'Numba', 'PyTorch', 'JAX'];
  const present = families.filter((family) => found.some((c) => ratioToFamily(c, family) !== ''));
  const lines = found.map((c) => {
    const own = find(c, ownName, 'out');
    const roof = roofOf(c);
    return [
      nameOf(c),
      duration(own.median),
      significant(own.gigabytesPerSecond),
      roof === undefined ? '' : `${Math.round(100 * roof.ratio)} %`,
      ...present.map((family) => ratioToFamily(c, family)),
    ];
  });
  const { batch } = reports;
  const versions = batch.peers
    .filter(({ name, absent }) => absent === undefined && name !== 'JavaScript')
    .map(({ name, version }) => `${name} ${version}`);
  return [
    tableOf([['', 'time', 'GB/s', 'of memory', ...present], ...lines]),
    '',
    'Whole calls with `out`, and how many times as long each library takes for the same, measured in turns. “Of memory” ' +
      'is the speed beside that of a copy (for the Jacobian, a fill) with non-temporal stores, for data that is larger ' +
      `than the caches. ${machineOf(batch)} ${versions.join(', ')}.`,
  ].join('\n');
}

function asyncTable(report) {
  const ms = (value) => `${significant(value)} ms`;
  const lines = report.results.map(({ name, way, call, late99, lateByOthers99, latest, total, sync }) => [
    `${name}, ${way}`,
    ms(call),
    ms(late99),
    ms(lateByOthers99),
    ms(latest),
    ms(total),
    ms(sync),
  ]);
  const together = report.calls.map(
    ({ count, shape: [n, k], atOnce, inTurn }) =>
      `${(atOnce / inTurn).toFixed(2)} (${count} of ${n.toLocaleString('en-US')} x ${k.toLocaleString('en-US')})`,
  );
  return [
    tableOf([
      ['', 'the call itself', 'loop late (99 %)', 'but for V8', 'at most', 'until the result', 'synchronous'],
      ...lines,
    ]),
    '',
    `Medians of ${report.rounds} rounds, float32; “late” is a timer of 1 ms while the call computes, “but for V8” without the garbage collections that buffers of 400 MB cause. ` +
      `Calls with \`threads: 1\` that were begun together took, beside the same calls made synchronously, ${together.join(' and ')} of the time. ${machineOf(report)}`,
  ].join('\n');
}

/** With its result in memory used again where it can do that, else beside a new result of this library. */
function ratioToFamily(c, family) {
  const results = c.results.filter(({ peer, failure }) => peer.startsWith(family) && failure === undefined);
  const out = results.filter(({ variant }) => variant === 'out');
  const ratios = (out.length > 0 ? out : results).map(({ ratio }) => ratio);
  return ratios.length === 0 ? '' : significant(Math.min(...ratios));
}

function goalsTable(reports) {
  return [tableOf(goalLines(reports)), '', machineOf(reports.batch)].join('\n');
}

// Worst float32 errors of others, measured once against references of higher precision: over 149 rows of 1 to
// 50,257 logits (the JavaScript libraries did not get the widest row), for NumPy over normally distributed rows of
// 1000 logits with sigma 30.
const errorsOfOthers = [
  ['transformers.js 4.3.1 (computes in float64)', 1],
  ['ONNX Runtime 1.30.0', 65],
  ['NumPy', 66],
  ['TensorFlow.js 4.22.0', 66],
  ['jax-js 0.1.25', 152],
  ['PyTorch 1.13.1, CPU', 154],
];

function accuracyTable({ date, isa, rows }) {
  const ks = rows.map(({ k }) => k);
  const range = `${Math.min(...ks)} to ${Math.max(...ks).toLocaleString('en')}`;
  const distributions = new Set(rows.map(({ distribution }) => distribution)).size;
  const worst = (operation, dtype) => worstUlp(rows, operation, dtype);
  const lines = [
    ['softmax, float32', 'worst error in ulp'],
    ['**softmax-native**', `**${worst('softmax', 'float32')}**`],
    ...errorsOfOthers.map(([name, ulp]) => [name, `${ulp} \\*`]),
  ];
  return [
    tableOf(lines),
    '',
    `An ulp is a unit in the last place of the exact result. softmax-native: ${rows.length.toLocaleString('en')} measurements of ` +
      `${date} (${distributions} distributions of logits, ${range} classes, ${isa}; \`npm run bench -- --suite accuracy\`), ` +
      `whose worst for softmax in float64 was ${worst('softmax', 'float64')} ulp, and for the entries of the Jacobian ` +
      `${worst('softmaxJacobian', 'float32')} (float32) and ${worst('softmaxJacobian', 'float64')} (float64). ` +
      'Other rows may have larger errors, up to the bounds above.',
    '',
    '\\* Measured separately, on other rows and on a 2-core Ice Lake-SP virtual machine, so these numbers compare in ' +
      'size only: 149 rows of up to 50,257 logits (NumPy: normally distributed rows of 1000 with sigma 30), against ' +
      'references of higher precision.',
  ].join('\n');
}

/** Rounded up, so that no row was worse than what the table says. */
function worstUlp(rows, operation, dtype) {
  const errors = rows
    .filter((row) => row.operation === operation && row.dtype === dtype)
    .map((row) => row.worstUlp);
  // JSON has no Infinity: a result that broke a rule stands as null.
  if (errors.length === 0 || errors.includes(null))
    throw new Error(`No worst error of ${operation} ${dtype}`);
  return (Math.ceil(Math.max(...errors) * 100) / 100).toFixed(2);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [file, text] of generated()) {
    writeFileSync(new URL(file, root), text);
    console.log(`wrote ${file}`);
  }
}
