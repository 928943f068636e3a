// Processes that compute in the background end as they should, however they end.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { backgroundPrograms, clean, run } from './child.ts';

// test/long/background.test.ts has those that take longer.
it.each(backgroundPrograms)('a process that %s', (_name, program) => {
  expect(run(program)).toEqual(clean);
});

it('a process that changes, hands over and drops the arrays of its calls gets the right results', () => {
  expect(run('memory-rule.mjs', {}, [], ['--expose-gc'])).toEqual(clean);
});

it('a process that ends by an error while calls are under way says so', () => {
  const { status, signal, stderr } = run('background-throws.mjs');
  expect({ status, signal }).toEqual({ status: 1, signal: null });
  expect(stderr).toContain('thrown on purpose');
});

it('a process that ends by SIGTERM while calls are under way does, and so does its handler', () => {
  expect(run('sigterm.mjs')).toEqual({ ...clean, status: null, signal: 'SIGTERM' });
  expect(run('sigterm.mjs', {}, ['handled'])).toEqual(clean);
});

it('a process that loads two copies of the package uses both', () => {
  const repository = fileURLToPath(new URL('../..', import.meta.url));
  const folder = mkdtempSync(path.join(tmpdir(), 'softmax-native-'));
  try {
    for (const copy of ['a', 'b']) {
      for (const file of ['dist', 'package.json', 'build/Release/softmax_native.node']) {
        cpSync(path.join(repository, file), path.join(folder, copy, file), { recursive: true });
      }
    }
    const program = path.join(folder, 'program.mjs');
    writeFileSync(
      program,
      `import * as a from './a/dist/promises.js';
import * as b from './b/dist/promises.js';
const x = Float32Array.from({ length: 400_000 }, (_, i) => i % 13);
const results = await Promise.all([a, b, a, b].map(({ softmax }) => softmax(x, { shape: [4000, 100] })));
for (const result of results) if (Buffer.compare(Buffer.from(result.buffer), Buffer.from(results[0].buffer))) throw 1;
`,
    );
    const env = { ...process.env };
    delete env['SOFTMAX_NATIVE_LIBRARY'];
    const { status, signal, stderr } = spawnSync(process.execPath, [program], { env, encoding: 'utf8' });
    expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
