// No kernel spills registers on the architectures of a release, and bench/results/kernel-resources.json tells of these kernels.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Report {
  nvcc: string;
  kernels: { kernel: string; architecture: string; registers?: number }[];
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const hasNvcc = spawnSync('nvcc', ['--version']).status === 0;
if (!hasNvcc) console.warn('test/long/kernel-resources: skipped, nvcc not installed');

describe.skipIf(!hasNvcc)('kernels', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'kernel-resources-test-'));
  const file = path.join(folder, 'report.json');
  let status: number | null = null;
  let stdout = '';
  let stderr = '';
  const report = (name: string) => JSON.parse(readFileSync(name, 'utf8')) as Report;

  beforeAll(() => {
    const program = path.join(root, 'native/tools/kernel-resources.mjs');
    // Those of a release; GPUs of 8.6 and 8.9 run its code of 8.0.
    const architectures = ['--architectures', '75,80,90,100,120'];
    const result = spawnSync(process.execPath, [program, '--check', '--json', file, ...architectures], {
      encoding: 'utf8',
    });
    ({ status, stdout, stderr } = result);
  });

  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('do not spill', () => {
    expect(stdout.split('\n').filter((line) => line.includes(' spills on '))).toEqual([]);
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });

  it('are those of the committed table, on the architectures that this nvcc has', () => {
    const { kernels } = report(file);
    const committed = report(path.join(root, 'bench/results/kernel-resources.json')).kernels;
    const architectures = new Set(kernels.map(({ architecture }) => architecture));
    // What another version of nvcc inlines may differ, but not the kernels, which alone have registers.
    const namesOf = (rows: Report['kernels']) =>
      rows
        .filter(({ architecture, registers }) => architectures.has(architecture) && registers !== undefined)
        .map(({ kernel, architecture }) => `${kernel} ${architecture}`)
        .toSorted();
    expect(kernels.length).toBeGreaterThan(0);
    expect(namesOf(committed), 'npm run kernel-resources -- --save').toEqual(namesOf(kernels));
  });
});
