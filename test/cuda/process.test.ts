// Threads and the end of a process: several environments use one GPU at a time, and whatever is under way when one of
// them ends, nothing crashes, hangs or complains.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { noGpu } from './support.ts';

// As in test/lifecycle: Node.js 20 may abort where a thread is terminated while V8 compiles in the background.
const flags = ['--no-concurrent-recompilation'];

function run(program: string): {
  status: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
} {
  const location = fileURLToPath(new URL(`programs/${program}`, import.meta.url));
  const child = spawnSync(process.execPath, [...flags, location], { encoding: 'utf8', timeout: 60_000 });
  const { status, signal, stdout, stderr } = child;
  return { status, signal, stdout, stderr };
}

describe.skipIf(noGpu)('a process', () => {
  it.each([
    ['that ends by itself with tensors', 'ends-by-itself.mjs'],
    ['that calls process.exit while the GPU computes, and computes in its handler', 'exits.mjs'],
    ['whose threads use the GPU at the same time', 'workers.mjs'],
    ['that uses the GPU in workers only', 'worker-only.mjs'],
    ['whose workers are terminated while they use the GPU', 'worker-terminated.mjs'],
    ['that calls process.exit while calls in the background use the GPU', 'background-exits.mjs'],
    ['whose workers are terminated while their calls in the background do', 'background-terminated.mjs'],
  ])('%s ends well', (_name, program) => {
    expect(run(program)).toEqual({ status: 0, signal: null, stdout: '', stderr: '' });
  });

  it('that ends by an error says so', () => {
    const { status, signal, stderr } = run('throws.mjs');
    expect({ status, signal }).toEqual({ status: 1, signal: null });
    expect(stderr).toContain('thrown on purpose');
  });
});
