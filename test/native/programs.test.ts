// The C++ programs beside this file: the split exponential over its inputs, the golden hashes of the numerics, and calls
// and jobs of several threads at once, which test/sanitizers watches too.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { deviceInfo } from '../../lib/index.ts';

const programs = new URL('../../build/programs/', import.meta.url);
const golden = readFileSync(new URL('golden_hashes.txt', import.meta.url), 'utf8');

function run(program: string, args: string[] = [], environment: Record<string, string> = {}) {
  const { pathname } = new URL(program, programs);
  const result = spawnSync(pathname, args, { encoding: 'utf8', env: { ...process.env, ...environment } });
  if (result.error) throw result.error;
  return result;
}

describe('numerics', () => {
  it('forms the exponential to 0.1 ulp before rounding, on every 64th float32 below 2^17', () => {
    const { status, stdout } = run('exp_sweep', ['64']);
    console.log(stdout.trim());
    expect(stdout).toMatch(/^float32: 37748736 inputs/);
    expect(status).toBe(0);
  });

  it.each(deviceInfo().availableIsas)(
    'has its golden hashes, which the %s kernels meet row by row',
    (isa) => {
      const { status, stdout, stderr } = run('golden_hashes', [], { SOFTMAX_NATIVE_ISA: isa });
      expect(stderr).toBe('');
      expect(stdout).toBe(golden);
      expect(status).toBe(0);
    },
  );

  it('has the same golden hashes on a CUDA device', ({ skip }) => {
    skip(!existsSync(new URL('golden_hashes_cuda', programs)), 'built without nvcc');
    const { status, stdout, stderr } = run('golden_hashes_cuda');
    skip(/cudaError(InsufficientDriver|NoDevice)/.test(stderr), `no CUDA device: ${stderr.trim()}`);
    expect(stderr).toBe('');
    expect(stdout).toBe(golden);
    expect(status).toBe(0);
  });
});

describe('several threads at once', () => {
  it.each(['race_check', 'queue_check'])('in %s get the right bits', (program) => {
    const { status, stdout, stderr } = run(program, ['3']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/4 callers, 3 rounds/);
  });
});
