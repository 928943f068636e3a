// What bench/results/kernel-resources.json was made from.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** A hash of all that the kernels are compiled from, without comments and the number of spaces. */
export function hashOfKernelSources() {
  const native = fileURLToPath(new URL('..', import.meta.url));
  const files = [
    ...['numerics', 'ops'].flatMap((folder) => filesOf(native, folder, /\.(h|inl)$/)),
    ...filesOf(native, 'cuda', /\.cuh?$|^(launch|policy|regimes)\.h$/),
  ];
  const hash = createHash('sha256');
  for (const file of files) {
    const code = readFileSync(path.join(native, file), 'utf8').replaceAll(/\/\/.*/g, '');
    hash.update(`${file}\n${code.replaceAll(/\s+/g, ' ')}\n`);
  }
  return hash.digest('hex');
}

function filesOf(native, folder, pattern) {
  return readdirSync(path.join(native, folder))
    .filter((name) => pattern.test(name))
    .toSorted()
    .map((name) => path.posix.join(folder, name));
}
