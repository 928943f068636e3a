// The worst errors of softmax and its Jacobian in ulp, by distribution of the logits and number of classes, as the
// accuracy tests measure them. Prints a table.
//
//   node bench/accuracy.mjs [--output FOLDER] [--json]
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deviceInfo, softmax, softmaxJacobian } from 'softmax-native';
import { reportOptions } from './report.mjs';

const options = reportOptions();
const root = fileURLToPath(new URL('..', import.meta.url));

// The references are TypeScript, which Node 20 does not run by itself.
const compiled = join(root, 'build', 'accuracy');
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');
const compilerOptions =
  '--ignoreConfig --rootDir test/support --target es2022 --lib es2023 --types node --module nodenext --strict ' +
  '--verbatimModuleSyntax --rewriteRelativeImportExtensions --skipLibCheck';
const { status } = spawnSync(
  process.execPath,
  [
    tsc,
    'test/support/measure.ts',
    'test/support/distributions.ts',
    ...compilerOptions.split(' '),
    '--outDir',
    compiled,
  ],
  { cwd: root, stdio: 'inherit' },
);
if (status !== 0) throw new Error('test/support does not compile');

const { gaussian, uniform, SIGMAS, OFFSETS, SHAPES_OF_ROWS } = await import(`${compiled}/distributions.js`);
const { makeRows, measureJacobian, measureSoftmax } = await import(`${compiled}/measure.js`);
const { randomFrom } = await import(`${compiled}/random.js`);
const { FORMATS } = await import(`${compiled}/ulp.js`);

const distributions = [
  ...SIGMAS.flatMap((sigma) => [gaussian(sigma), uniform(sigma)]),
  ...OFFSETS.filter((offset) => offset !== 0).map((offset) => gaussian(10, offset)),
  ...SHAPES_OF_ROWS,
];
const softmaxKs = [3, 10, 100, 1000, 4097, 50_000];
const longRows = [gaussian(1), gaussian(3), gaussian(30), uniform(3)];
const jacobianKs = [3, 10, 100];

const results = [];
function measure(operation, format, distribution, k, worstOf) {
  const { ulp } = worstOf();
  results.push({
    operation,
    dtype: format.name,
    distribution: distribution.name,
    k,
    worstUlp: Number(ulp.toFixed(4)),
  });
}

for (const format of FORMATS) {
  const random = randomFrom(7);
  const measureRows = (distribution, k, elements) =>
    measure('softmax', format, distribution, k, () => {
      const rows = Math.max(1, Math.floor(elements / k));
      return measureSoftmax(softmax, makeRows(distribution, rows, k, random, format), k, format);
    });
  for (const distribution of distributions) {
    for (const k of softmaxKs) measureRows(distribution, k, 10_000);
    for (const k of jacobianKs) {
      measure('softmaxJacobian', format, distribution, k, () => {
        const rows = Math.max(1, Math.floor(10_000 / (k * k)));
        return measureJacobian(softmaxJacobian, makeRows(distribution, rows, k, random, format), k, format);
      });
    }
  }
  for (const distribution of longRows) measureRows(distribution, 1_000_000, 1);
}

const table = {};
for (const { operation, dtype, distribution, worstUlp } of results) {
  const line = (table[distribution] ??= {});
  const column = `${operation} ${dtype}`;
  line[column] = Math.max(line[column] ?? 0, worstUlp);
}
console.table(table);

if (options.json) {
  const { isa } = deviceInfo();
  mkdirSync(options.output, { recursive: true });
  const head = { date: new Date().toISOString().slice(0, 10), node: process.version, isa };
  // One measurement a line, so that a change of the numerics shows as a readable difference.
  const lines = results.map((row) => JSON.stringify(row));
  const json = `${JSON.stringify(head).slice(0, -1)},"rows":[\n${lines.join(',\n')}\n]}\n`;
  const file = join(options.output, 'accuracy.json');
  writeFileSync(file, json);
  console.log(`${results.length} measurements written to ${file}`);
}
