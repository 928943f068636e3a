// Processes that used the library end as they should: exit code 0 and no signal, whoever loaded it, and however they end.
import { describe, expect, it } from 'vitest';
import { run } from './child.ts';

const clean = { status: 0, signal: null, stdout: '', stderr: '' };

// A thread that outlives its code crashes now and then only.
const times = Array.from({ length: 4 }, (_, i) => i + 1);

describe.each([
  ['ends by itself', 'ends-by-itself.mjs'],
  ['calls process.exit, and computes in its handler', 'exits.mjs'],
  ['loads it in workers only, which end by themselves', 'worker-only.mjs'],
  ['loads it in workers only, which are terminated while they compute', 'worker-terminated.mjs'],
  ['computes in many workers, and exits while one does', 'many-workers.mjs'],
])('a process that %s', (_name, program) => {
  it.each(times)('ends well (run %i)', () => {
    expect(run(program, { OMP_WAIT_POLICY: 'passive' })).toEqual(clean);
  });

  it('ends well where OMP_WAIT_POLICY is not set', () => {
    expect(run(program, { OMP_WAIT_POLICY: undefined })).toEqual(clean);
  });

  it('ends well with idle threads that spin', () => {
    expect(run(program, { OMP_WAIT_POLICY: 'active' })).toEqual(clean);
  });
});

it('a process that ends by an error says so', () => {
  const { status, signal, stderr } = run('throws.mjs');
  expect({ status, signal }).toEqual({ status: 1, signal: null });
  expect(stderr).toContain('thrown on purpose');
});
