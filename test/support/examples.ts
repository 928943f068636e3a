// The examples in the documentation of the public functions and classes, as code that can be run.
import { readFileSync, readdirSync } from 'node:fs';
import { inspect } from 'node:util';
import { expect } from 'vitest';
import * as library from '../../lib/index.ts';
import * as promises from '../../lib/promises.ts';

const folder = new URL('../../lib/', import.meta.url);

/** The package's entry points, by the names that programs import. */
export const entries = { 'softmax-native': library, 'softmax-native/promises': promises };
export type Entry = keyof typeof entries;

export interface Example {
  /** What is documented. */
  name: string;
  /** Where it is exported. */
  entry: Entry;
  code: string;
  /** Whether it makes tensors, for which there must be a GPU. */
  needsGpu: boolean;
}

export const examples: readonly Example[] = readdirSync(folder).flatMap((file): Example[] => {
  const text = readFileSync(new URL(file, folder), 'utf8');
  const comments = text.matchAll(
    /@example\s*\n\s*\* ```ts\n((?:(?!\*\/).)*?)```\s*\*\/\nexport (?:async )?(?:function|class) (\w+)/gs,
  );
  return [...comments].map(([, commented = '', name = '']) => {
    const code = commented.replaceAll(/^ *\* ?/gm, '');
    const entry: Entry = code.includes('/promises') ? 'softmax-native/promises' : 'softmax-native';
    return { name, entry, code, needsGpu: code.includes('cudaDevice(') };
  });
});

/** Turns `value;` and a comment `// => expected` into a comparison. A typed array is written as inspect() shows it. */
function instrumented(code: string): string {
  return code
    .replaceAll(/^import (\{.*?\}) from ('softmax-native.*?');$/gm, 'const $1 = entries[$2];')
    .replaceAll(/^(?!const )(.+);\s*\n\/\/ => (.+)$/gm, (_match, value: string, expected: string) => {
      const literal = expected.replaceAll(/(\w+Array)\(\d+\) (\[.*?\])/g, '$1.from($2)');
      return `check(${value}, ${literal}, ${JSON.stringify(expected)});`;
    });
}

/** Runs an example; every value must be the one that the comment after it says. */
export async function expectExampleHolds({ code }: Example): Promise<void> {
  let checks = 0;
  const check = (actual: unknown, expected: unknown, text: string): void => {
    checks++;
    expect(actual).toEqual(expected);
    // Lengths that are written beside the elements.
    for (const [array] of text.matchAll(/\w+Array\(\d+\)/g))
      expect(inspect(actual, { depth: 3 })).toContain(array);
  };
  const AsyncFunction = expectExampleHolds.constructor as new (
    ...text: string[]
  ) => (...values: unknown[]) => Promise<void>;
  await new AsyncFunction('entries', 'check', instrumented(code))(entries, check);
  expect(checks).toBe([...code.matchAll(/\/\/ =>/g)].length);
  expect(checks).toBeGreaterThan(0);
}
