// Processes that used the library end as they should: exit code 0 and no signal, whoever loaded it, and however they end.
import { describe, expect, it } from 'vitest';
import { clean, programs, run, waitPolicies } from './child.ts';

// test/long/exit.test.ts runs each of these more often.
describe.each(programs)('a process that %s', (_name, program) => {
  it.each(waitPolicies)('ends well %s', (_policy, environment) => {
    expect(run(program, environment)).toEqual(clean);
  });
});

it('a process that ends by an error says so', () => {
  const { status, signal, stderr } = run('throws.mjs');
  expect({ status, signal }).toEqual({ status: 1, signal: null });
  expect(stderr).toContain('thrown on purpose');
});
