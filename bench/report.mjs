// The options that suites have in common, and what becomes of their reports: tables printed, and files.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { deviceInfo } from 'softmax-native';
import { plotsOf } from './plots.mjs';
import { machineOf, tableOf } from './tables.mjs';

export const resultsFolder = fileURLToPath(new URL('results', import.meta.url));

/** The options that all suites have. */
export function reportOptions() {
  const { values } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      threads: { type: 'string', default: String(deviceInfo().threads) },
      only: { type: 'string', default: '' },
      output: { type: 'string', default: resultsFolder },
      json: { type: 'boolean' },
      markdown: { type: 'boolean' },
      svg: { type: 'boolean' },
    },
  });
  return { ...values, threads: Number(values.threads) };
}

/** Prints the tables of a report and writes the files that are asked for. */
export function write(report, tables, { output, json, markdown, svg }) {
  const text = tables.map(({ title, lines }) => `${title}\n\n${tableOf(lines)}`).join('\n\n');
  console.log(`\n${text}\n\n${machineOf(report)}`);
  if (!json && !markdown && !svg) return;
  mkdirSync(output, { recursive: true });
  const files = [
    ...(json ? [[`${report.benchmark}.json`, jsonOf(report)]] : []),
    ...(markdown ? [[`${report.benchmark}.md`, `${text}\n\n${machineOf(report)}\n`]] : []),
    ...(svg ? plotsOf(report) : []),
  ];
  for (const [name, content] of files) {
    const file = path.join(output, name);
    writeFileSync(file, content);
    console.log(`wrote ${path.relative(process.cwd(), file)}`);
  }
}

/** JSON with one line for each candidate, so that differences can be read. */
function jsonOf(report) {
  const short = (key, value) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
  const text = JSON.stringify(report, short, 1);
  return `${text.replace(/\{[^{}]*\}|\[[^[\]{}]*\]/g, (inner) => inner.replace(/\n */g, ' '))}\n`;
}
