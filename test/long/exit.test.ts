// Ends of processes, many times: a thread that outlives its code crashes now and then only.
import { describe, expect, it } from 'vitest';
import { clean, programs, run, waitPolicies } from '../lifecycle/child.ts';

const times = Array.from({ length: 3 }, (_, i) => i + 1);

describe.each(programs)('a process that %s', (_name, program) => {
  describe.each(waitPolicies)('ends well %s', (_policy, environment) => {
    it.each(times)('(run %i)', () => {
      expect(run(program, environment)).toEqual(clean);
    });
  });
});
