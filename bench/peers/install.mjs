// Installs what the benchmarks compare with into this folder: npm packages into node_modules, and Python packages into a
// virtual environment .venv where there is a python3 that can make one and an index that it can reach.
//
//   npm run bench:peers
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = path.dirname(fileURLToPath(import.meta.url));

function run(program, ...args) {
  const shell = process.platform === 'win32' && program === 'npm';
  return spawnSync(program, args, { cwd: folder, stdio: 'inherit', shell }).status === 0;
}

// No scripts: some would download what only GPUs need.
if (!run('npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund')) process.exit(1);

const environment = path.join(folder, '.venv');
const python = path.join(environment, 'bin', 'python');
const pip = ['-m', 'pip', 'install', '--quiet', '--retries', '1', '--requirement', 'requirements.txt'];
if (!run('python3', '-m', 'venv', environment) || !run(python, ...pip)) {
  // Half of an environment would hide the interpreter that is used without one.
  rmSync(environment, { recursive: true, force: true });
  console.log(
    'No Python packages were installed. The benchmarks use those of python3, or of the interpreter that BENCH_PYTHON names.',
  );
}
