// Builds the native library and dist/ where they are missing or older than their sources, and says so; otherwise
// does nothing. npm test, npm run demo and npm run bench start with it, so that they work in a fresh clone.
//
//   node native/tools/ensure-built.mjs [addon]
//
// `addon` leaves out the programs of tests and benchmarks, which take most of the time.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

// The stamp is written when a build has succeeded: an interrupted one may have made the output and no more.
const addon = {
  script: 'build:native',
  output: 'build/Release/softmax_native.node',
  stamp: 'build/addon-built',
  sources: ['CMakeLists.txt', 'native'],
  options: ['--', '--target', 'softmax_native'],
};
const everything = {
  ...addon,
  stamp: 'build/built',
  sources: [...addon.sources, 'test/native', 'test/emulator', 'bench/gpu', 'bench/native'],
  options: [],
};
const library = {
  script: 'build:ts',
  output: 'dist/index.js',
  stamp: 'dist/.built',
  sources: ['tsconfig.json', 'lib'],
  options: [],
};

for (const { script, output, stamp, sources, options } of [
  process.argv[2] === 'addon' ? addon : everything,
  library,
]) {
  const stamps = stamp === addon.stamp ? [stamp, everything.stamp] : [stamp];
  const built = existsSync(path.join(root, output)) ? Math.max(...stamps.map(newestChange)) : 0;
  if (built >= Math.max(...sources.map(newestChange))) continue;

  const command = ['npm', 'run', script, ...options].join(' ');
  const what =
    stamp === everything.stamp ? ', with the programs of tests and benchmarks, which takes minutes' : '';
  console.log(`Building ${output}${what}: ${command}`);
  const { status, error } = spawnSync('npm', ['run', '--silent', script, ...options], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (error) throw error;
  if (status !== 0) {
    console.error(`npm run ${script} failed. It needs CMake 3.20 or later, make or ninja, and g++ or clang.`);
    process.exit(status ?? 1);
  }
  writeFileSync(path.join(root, stamp), '');
}

// The time of the last change to a file or to anything below a folder. A folder's own time is the time its list of
// files changed, so a deleted source counts too.
function newestChange(source) {
  const location = path.join(root, source);
  if (!existsSync(location)) return 0;
  const { mtimeMs } = statSync(location);
  if (path.relative(root, location) === path.join('native', 'tools')) return 0;
  if (!statSync(location).isDirectory()) return mtimeMs;
  return Math.max(mtimeMs, ...readdirSync(location).map((name) => newestChange(path.join(source, name))));
}
