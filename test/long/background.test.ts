// Processes that compute in the background, again and again, in many threads, and what they leave behind.
import { expect, it } from 'vitest';
import { clean, run, waitPolicies } from '../lifecycle/child.ts';

it.each(waitPolicies)(
  'workers are terminated while their calls are under way, %s',
  (_policy, environment) => {
    for (let i = 0; i < 3; i++) expect(run('background-worker-terminated.mjs', environment)).toEqual(clean);
  },
);

it('a process with 200 workers one after another ends well', () => {
  expect(run('two-hundred-workers.mjs')).toEqual(clean);
});

it('a thousand overlapping calls in nine threads give the right bits, and leave no thread and no memory', () => {
  const { stdout, ...ended } = run('overlapping-calls.mjs', { OMP_NUM_THREADS: '4' }, [], ['--expose-gc']);
  expect({ ...ended, stdout: '' }).toEqual(clean);
  const { threads, megabytes } = JSON.parse(stdout) as { threads: number; megabytes: number };
  // Three threads for short calls, four for those that use one thread, one for the others and the three of its team.
  expect(threads).toBeGreaterThanOrEqual(1);
  expect(threads).toBeLessThanOrEqual(3 + 4 + 1 + 3);
  // The results of one round are 2,000 times some 0.5 MB; 24 workers leave up to 40 MB of Node.js's own.
  expect(megabytes).toBeLessThan(200);
});
