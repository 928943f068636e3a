// The split exponential on every float32 input of its range.
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';

it(
  'forms the exponential to 0.1 ulp before rounding, on every float32 below 2^17',
  { timeout: 900_000 },
  () => {
    const { pathname } = new URL('../../build/programs/exp_sweep', import.meta.url);
    const { status, stdout } = spawnSync(pathname, ['1'], { encoding: 'utf8' });
    console.log(stdout.trim());
    expect(stdout).toMatch(/^float32: 2415919104 inputs/);
    expect(status).toBe(0);
  },
);
