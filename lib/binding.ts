// Loads the native library: the only file that does. A failure is kept and thrown by the first call that computes,
// so that the package can be imported, and deviceInfo() asked, where the library cannot be loaded.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { nativeLibrary } from './errors.ts';

export type FloatArray = Float32Array | Float64Array;

/**
 * The native functions take positional primitives. Element (o, j, i) of x lies at (o * k + j) * inner + i. They check
 * types, lengths and overlap again before anything is written.
 */
export interface NativeLibrary {
  softmax(x: FloatArray, out: FloatArray, outer: number, k: number, inner: number, threads: number): void;
  rowMax(
    x: FloatArray,
    max: FloatArray,
    argmax: Int32Array | undefined,
    outer: number,
    k: number,
    inner: number,
    threads: number,
  ): void;
  softmaxJacobian(x: FloatArray, out: FloatArray, rows: number, k: number, threads: number): void;
  /** For tests: the work in nanoseconds, 70,000 at first, that is worth one more thread. */
  setWorkPerThread(nanoseconds: number): void;
  cpuInfo(): { isa: string; available: string[]; threads: boolean; passiveWait: boolean };
}

const require = createRequire(import.meta.url);

// The parent of lib/ in the repository, of dist/ in the installed package.
const packageRoot = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

let library: NativeLibrary | undefined;
let failure: unknown;
try {
  library = withPassiveWaiting(() => {
    const loadFrom = require('node-gyp-build') as (root: string) => NativeLibrary;
    return loadFrom(packageRoot);
  });
} catch (error) {
  failure = explain(error);
}

/** The native functions; throws why where there are none. */
export function native(): NativeLibrary {
  if (library === undefined) throw failure;
  return library;
}

/**
 * OpenMP's idle threads spin by default: a program with one short call every 10 ms would keep every core busy. The
 * runtime reads its policy once, when it is loaded, and from the real environment, which only the main thread's
 * process.env changes. A policy that is already set is the user's, and stays. Where none can be set, the library uses
 * one thread.
 */
function withPassiveWaiting<Result>(load: () => Result): Result {
  if (!isMainThread || process.env['OMP_WAIT_POLICY'] !== undefined || hasOpenMp()) return load();
  process.env['OMP_WAIT_POLICY'] = 'passive';
  try {
    return load();
  } finally {
    delete process.env['OMP_WAIT_POLICY'];
  }
}

/** Whether an OpenMP runtime is in the process already, as another addon's: it has read its policy, and keeps it. */
function hasOpenMp(): boolean {
  try {
    return /lib[gi]?omp\d?\.so/.test(readFileSync('/proc/self/maps', 'latin1'));
  } catch {
    return false;
  }
}

function explain(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  // The library was found and loaded, and says itself what is wrong.
  if (code === 'ERR_UNSUPPORTED_ISA') return error;

  const platform = `${process.platform}-${process.arch}`;
  const openmp =
    '- Install the OpenMP runtime: apt-get install libgomp1, dnf install libgomp or apk add libgomp';
  const text = [
    `Could not load the native library of softmax-native for ${platform}, Node.js ${process.version}.`,
    `Looked for a *.node file in build/Release, build/Debug and prebuilds/${platform} of ${packageRoot}.`,
    message.trim(),
    'Possible solutions:',
    ...(message.includes('libgomp') ? [openmp] : []),
    '- Build it from source, with CMake and g++ or clang:',
    '      npx cmake-js@8 compile -d node_modules/softmax-native',
    '- In a bundle: mark softmax-native as external, as a bundler cannot include a native library.',
  ];
  return nativeLibrary(text.join('\n'), error);
}
