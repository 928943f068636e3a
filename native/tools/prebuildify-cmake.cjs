#!/usr/bin/env node
// Lets prebuildify build with cmake-js: prebuildify calls this where it would call node-gyp.
//
// The arguments are node-gyp's. --target is dropped on purpose: for node-gyp it is a Node version, for cmake-js the
// name of a CMake target; a Node-API build needs neither. The variable CMAKE_JS_DEFINES="A=1;B=x;y" adds CMake options
// (a value may hold semicolons, since only one before NAME= separates): CMAKE_JS_DEFINES=SOFTMAX_CUDA=OFF makes a prebuild
// without CUDA in seconds.
'use strict';

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const argv = process.argv.slice(2);
const arch = argv.find((argument) => argument.startsWith('--arch='));
const defines = [
  // A prebuild must load where no compiler, and so no libgomp.so.1, is installed.
  ...(process.platform === 'linux' ? ['SOFTMAX_BUNDLE_GOMP=ON'] : []),
  'SOFTMAX_TEST_PROGRAMS=OFF',
  'SOFTMAX_CUDA_ARCHITECTURES=ALL',
  ...(process.env.CMAKE_JS_DEFINES ?? '').split(/;(?=[A-Za-z_]\w*=)/).filter(Boolean),
];

const cmakeJs = path.join(path.dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js');
const { status, error } = spawnSync(
  process.execPath,
  [
    cmakeJs,
    argv[0] ?? 'rebuild',
    '--config',
    argv.includes('--debug') ? 'Debug' : 'Release',
    ...(arch ? ['--arch', arch.slice('--arch='.length)] : []),
    ...defines.map((define) => `--CD${define}`),
  ],
  { stdio: 'inherit' },
);
if (error) throw error;
process.exit(status ?? 1);
