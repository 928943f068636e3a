// bench/results/kernel-resources.json tells of these kernels, on the architectures of a release and more, and none of them
// spills registers. It is compared with what nvcc makes for one architecture: all of them take minutes.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { hashOfKernelSources } from '../../native/tools/kernel-sources.mjs';

interface Report {
  nvcc: string;
  sources: string;
  kernels: {
    kernel: string;
    architecture: string;
    registers?: number;
    spillStores: number;
    spillLoads: number;
  }[];
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const hasNvcc = spawnSync('nvcc', ['--version']).status === 0;
if (!hasNvcc) console.warn('test/long/kernel-resources: skipped, nvcc not installed');

describe.skipIf(!hasNvcc)('the table of what kernels need', () => {
  const committed = JSON.parse(
    readFileSync(path.join(root, 'bench/results/kernel-resources.json'), 'utf8'),
  ) as Report;

  it('was made from these sources', () => {
    expect(committed.sources, 'npm run kernel-resources -- --save').toBe(hashOfKernelSources());
  });

  it('has no kernel that spills, on any of seven architectures', () => {
    expect(new Set(committed.kernels.map(({ architecture }) => architecture)).size).toBe(7);
    const spilling = committed.kernels.filter(({ spillStores, spillLoads }) => spillStores + spillLoads > 0);
    expect(spilling).toEqual([]);
  });

  it('is what nvcc says on 9.0', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'kernel-resources-test-'));
    try {
      const file = path.join(folder, 'report.json');
      const program = path.join(root, 'native/tools/kernel-resources.mjs');
      const args = [program, '--check', '--json', file, '--architectures', '90'];
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      expect(stdout.split('\n').filter((line) => line.includes(' spills on '))).toEqual([]);
      expect(stderr).toBe('');
      expect(status).toBe(0);

      const { nvcc, kernels } = JSON.parse(readFileSync(file, 'utf8')) as Report;
      // Another version of nvcc may inline other functions, which have no registers of their own, and need others.
      const sameNvcc = nvcc === committed.nvcc;
      const needs = (rows: Report['kernels']) =>
        rows
          .filter(({ architecture, registers }) => architecture === 'sm_90' && registers !== undefined)
          .map(({ kernel, registers }) => `${kernel}${sameNvcc ? `: ${registers} registers` : ''}`)
          .toSorted();
      expect(kernels.length).toBeGreaterThan(0);
      expect(needs(committed.kernels)).toEqual(needs(kernels));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
