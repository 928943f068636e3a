// Writes the accuracy table of README.md from bench/results/accuracy.json, which bench/accuracy.mjs measures.
//
//     node bench/accuracy.mjs && node bench/readme.mjs
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// Worst float32 errors of others, measured once against references of higher precision: over 149 rows of 1 to
// 50,257 logits (the JavaScript libraries did not get the widest row), for NumPy over normally distributed rows of
// 1000 logits with sigma 30.
const peers = [
  ['transformers.js 4.3.1 (computes in float64)', 1],
  ['ONNX Runtime 1.30.0', 65],
  ['NumPy', 66],
  ['TensorFlow.js 4.22.0', 66],
  ['jax-js 0.1.25', 152],
  ['PyTorch 1.13.1, CPU', 154],
];

const begin = '<!-- accuracy:begin -->';
const end = '<!-- accuracy:end -->';

/** README.md with the table that belongs to a report of bench/accuracy.mjs. */
export function withAccuracyTable(readme, report) {
  const [before, rest, ...more] = readme.split(begin);
  const [, after, ...others] = rest?.split(end) ?? [];
  if (after === undefined || more.length + others.length > 0) {
    throw new Error(`README.md must have one ${begin} and, after it, one ${end}`);
  }
  return `${before}${begin}\n\n${accuracyTable(report)}\n\n${end}${after}`;
}

function accuracyTable({ date, isa, rows }) {
  const ks = rows.map(({ k }) => k);
  const range = `${Math.min(...ks)} to ${Math.max(...ks).toLocaleString('en')}`;
  const distributions = new Set(rows.map(({ distribution }) => distribution)).size;
  const worst = (operation, dtype) => worstUlp(rows, operation, dtype);
  const lines = [
    ['softmax, float32', 'worst error in ulp'],
    ['**softmax-native**', `**${worst('softmax', 'float32')}**`],
    ...peers.map(([name, ulp]) => [name, `${ulp} \\*`]),
  ];
  // Padded as the formatter of the repository does it.
  const [nameWidth, ulpWidth] = [0, 1].map((column) =>
    Math.max(...lines.map((cells) => cells[column].length)),
  );
  const [head, ...body] = lines.map(
    ([name, ulp]) => `| ${name.padEnd(nameWidth)} | ${ulp.padStart(ulpWidth)} |`,
  );
  return [
    head,
    `| ${'-'.repeat(nameWidth)} | ${'-'.repeat(ulpWidth - 1)}: |`,
    ...body,
    '',
    `An ulp is a unit in the last place of the exact result. softmax-native: ${rows.length.toLocaleString('en')} measurements of ` +
      `${date} (${distributions} distributions of logits, ${range} classes, ${isa}; \`node bench/accuracy.mjs\`), ` +
      `which also gave ${worst('softmax', 'float64')} ulp for softmax in float64 and ` +
      `${worst('softmaxJacobian', 'float32')} (float32) and ${worst('softmaxJacobian', 'float64')} (float64) ` +
      'for the entries of the Jacobian.',
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
  const file = new URL('../README.md', import.meta.url);
  const report = JSON.parse(readFileSync(new URL('results/accuracy.json', import.meta.url), 'utf8'));
  writeFileSync(file, withAccuracyTable(readFileSync(file, 'utf8'), report));
}
