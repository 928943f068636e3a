// The examples in the documentation of the public functions: each is run, and every value must be the one that the
// comment after it says.
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import * as library from '../../lib/index.ts';

const folder = new URL('../../lib/', import.meta.url);

interface Example {
  name: string;
  code: string;
}

const examples = readdirSync(folder).flatMap((file): Example[] => {
  const text = readFileSync(new URL(file, folder), 'utf8');
  return [...text.matchAll(/@example\s*\n\s*\* ```ts\n(.*?)```.*?export function (\w+)/gs)].map(
    ([, code = '', name = '']) => ({ name, code: code.replaceAll(/^ *\* ?/gm, '') }),
  );
});

/** Turns `value;` and a comment `// => expected` into a comparison. A typed array is written as inspect() shows it. */
function instrumented(code: string): string {
  return code
    .replace(/^import (\{.*?\}) from 'softmax-native';$/m, 'const $1 = library;')
    .replaceAll(/^(?!const )(.+);\s*\n\/\/ => (.+)$/gm, (_match, value: string, expected: string) => {
      const literal = expected.replaceAll(/(\w+Array)\(\d+\) (\[.*?\])/g, '$1.from($2)');
      return `check(${value}, ${literal}, ${JSON.stringify(expected)});`;
    });
}

it('every public function has one', () => {
  const functions = Object.entries(library).filter(([, value]) => typeof value === 'function');
  expect(examples.map(({ name }) => name).toSorted()).toEqual(functions.map(([name]) => name).toSorted());
  expect(fileURLToPath(folder)).toMatch(/lib.$/);
});

it.each(examples)('of $name says what it gives', ({ code }) => {
  let checks = 0;
  const check = (actual: unknown, expected: unknown, text: string): void => {
    checks++;
    expect(actual).toEqual(expected);
    // Lengths that are written beside the elements.
    for (const [array] of text.matchAll(/\w+Array\(\d+\)/g))
      expect(inspect(actual, { depth: 3 })).toContain(array);
  };
  // oxlint-disable-next-line no-implied-eval, no-new-func -- the code is this repository's own
  new Function('library', 'check', instrumented(code))(library, check);
  expect(checks).toBe([...code.matchAll(/\/\/ =>/g)].length);
  expect(checks).toBeGreaterThan(0);
});
