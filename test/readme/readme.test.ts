// README.md says what is true: every js snippet runs as a module of its own and prints what its `// =>` comments
// say, line by line; its tables of measurements, those of bench/README.md and the plots are those that the reports in
// bench/results give; the table of errors has every code; links lead to files.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { generated } from '../../bench/readme.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const readme = read('README.md');

const fences = [...readme.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = '', code = '']) => ({
  language,
  code,
}));
const snippets = fences.filter(({ language }) => language === 'js').map(({ code }) => code);

describe('snippets', () => {
  it('are found, and no other language of the library slips through', () => {
    expect(readme.match(/^```/gm)).toHaveLength(2 * fences.length);
    expect(new Set(fences.map(({ language }) => language))).toEqual(new Set(['js', 'sh']));
    expect(snippets.length).toBeGreaterThanOrEqual(7);
  });

  it.each(snippets.map((code, i) => ({ code, line: lineOf(i) })))(
    'line $line prints what it says',
    ({ code }) => {
      const promised = [...code.matchAll(/\/\/ => (.*)$/gm)].map(([, text]) => text);
      expect(promised).not.toHaveLength(0);

      // The package resolves its own name from the root, as an installed one does from a project.
      const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module'], {
        cwd: root,
        input: code,
        encoding: 'utf8',
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout.trimEnd().split('\n')).toEqual(promised);
    },
  );
});

it.each(generated())('%s has the tables or the plot of bench/results', (file, text) => {
  expect(read(file), 'run npm run bench:readme').toBe(text);
});

it('states no worst error below what was measured', () => {
  const report = JSON.parse(read('bench/results/accuracy.json')) as {
    rows: { operation: string; dtype: string; worstUlp: number }[];
  };
  const worst = Math.max(
    ...report.rows
      .filter(({ operation, dtype }) => operation === 'softmax' && dtype === 'float32')
      .map(({ worstUlp }) => worstUlp),
  );
  const [, printed] = /^\| \*\*softmax-native\*\* +\| +\*\*(\S+)\*\* \|$/m.exec(readme) ?? [];
  expect(Number(printed)).toBeGreaterThanOrEqual(worst);
  expect(Number(printed) - worst).toBeLessThan(0.01);
});

it('lists every error code, and no other', () => {
  const codes = (text: string, pattern: RegExp): string[] =>
    [...text.matchAll(pattern)].map(([, code]) => String(code));
  const listed = codes(readme, /^\| `(\w*ERR\w*)`/gm);
  expect(new Set(listed)).toEqual(new Set(codes(read('lib/errors.ts'), /^ {2}\| '(\w*ERR\w*)'/gm)));
});

it('links to files and headings that are there', () => {
  const headings = [...readme.matchAll(/^#+ (.+)$/gm)].map(
    ([, heading]) =>
      `#${String(heading)
        .toLowerCase()
        .replace(/[^\w\s-]/g, '')
        .replaceAll(' ', '-')}`,
  );
  for (const [, target = ''] of readme.matchAll(/\]\(([^)]+)\)/g)) {
    if (target.startsWith('#')) expect(headings).toContain(target);
    else expect(existsSync(path.join(root, target)), target).toBe(true);
  }
});

function lineOf(snippet: number): number {
  let from = 0;
  for (let i = 0; i <= snippet; i++) from = readme.indexOf('```js\n', from) + 1;
  return readme.slice(0, from).split('\n').length;
}
