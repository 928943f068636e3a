// Processes that used the library end as they should: exit code 0 and no signal, whoever loaded it, and however they end.
import { expect, it } from 'vitest';
import { clean, programs, run } from './child.ts';

// test/long/exit.test.ts runs each of these more often, and where idle threads wait otherwise.
it.each(programs)('a process that %s ends well', (_name, program) => {
  expect(run(program)).toEqual(clean);
});

it('a process that ends by an error says so', () => {
  const { status, signal, stderr } = run('throws.mjs');
  expect({ status, signal }).toEqual({ status: 1, signal: null });
  expect(stderr).toContain('thrown on purpose');
});
