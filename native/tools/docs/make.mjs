// Makes the API reference, build/docs/index.html, from the TSDoc of what package.json exports. What is exported without
// documentation, or links to nothing, is an error.
//
//   npm run docs
//
// TypeDoc and its TypeScript are installed into build/docs-tool first, from the versions locked in this folder.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, '../../..');
const tool = path.join(root, 'build/docs-tool');
const output = path.join(root, 'build/docs');

install();
rmSync(output, { recursive: true, force: true });
const typedoc = path.join(tool, 'node_modules/typedoc/bin/typedoc');
const options = [
  '--options',
  path.join(here, 'typedoc.json'),
  '--tsconfig',
  path.join(root, 'tsconfig.json'),
];
const { status } = spawnSync(
  process.execPath,
  [typedoc, ...options, '--readme', path.join(root, 'README.md'), '--out', output, ...entries()],
  { cwd: root, stdio: 'inherit' },
);
process.exitCode = status ?? 1;

function install() {
  const files = ['package.json', 'package-lock.json'];
  const isInstalled =
    existsSync(path.join(tool, 'node_modules/.package-lock.json')) &&
    files.every((file) => readFileSync(path.join(tool, file)).equals(readFileSync(path.join(here, file))));
  if (isInstalled) return;
  mkdirSync(tool, { recursive: true });
  for (const file of files) copyFileSync(path.join(here, file), path.join(tool, file));
  const npm = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: tool,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (npm.status === 0) return;
  rmSync(tool, { recursive: true, force: true });
  console.error('TypeDoc could not be installed: that needs npm and its registry.');
  process.exit(3);
}

/** The sources of the modules that package.json exports. */
function entries() {
  const { exports } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const declarations = JSON.stringify(exports).matchAll(/"types":"\.\/dist\/([^"]+)\.d\.ts"/g);
  return [...new Set([...declarations].map(([, name]) => `lib/${name}.ts`))];
}
