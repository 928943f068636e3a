// Finds the native library among the files of this package. Their names are fixed: it is looked for in no other folder,
// beside Node.js or where an environment variable says, and nothing is downloaded.
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

/** The C library in a file's name. prebuildify writes glibc for other systems than Linux too. */
export type Libc = 'glibc' | 'musl';

/** A file that may be the native library, with what came of it: in words, or as the system's error. */
export interface Attempt {
  file: string;
  outcome: 'not there' | 'there, but not tried' | Error;
}

/** @param map - the memory map of the process, which names its dynamic linker */
export function libcOf(map: string): Libc {
  return /\/ld-musl-[^/]*$/m.test(map) ? 'musl' : 'glibc';
}

/** The files that may be the native library: a build, which someone made on purpose, comes before a release's. */
export function candidates(root: string, platform: string, arch: string, libc: Libc): string[] {
  return [
    path.join(root, 'build', 'Release', 'softmax_native.node'),
    path.join(root, 'build', 'Debug', 'softmax_native.node'),
    path.join(root, 'prebuilds', `${platform}-${arch}`, `softmax-native.${libc}.node`),
  ];
}

/**
 * Loads the first of these files that is there. One that cannot be loaded ends the search: a broken build is reported,
 * and never replaced by another file in silence.
 */
export function loadFirst(files: readonly string[]): { library: unknown } | { attempts: Attempt[] } {
  const chosen = files.find(isThere);
  try {
    if (chosen !== undefined) return { library: load(chosen) };
  } catch (error) {
    return {
      attempts: files.map((file) => ({ file, outcome: file === chosen ? asError(error) : seen(file) })),
    };
  }
  return { attempts: files.map((file) => ({ file, outcome: seen(file) })) };
}

function load(file: string): unknown {
  if (!file.endsWith('.node')) throw new Error('Its name has to end in .node: others are run as JavaScript.');
  return createRequire(file)(file) as unknown;
}

function seen(file: string): 'not there' | 'there, but not tried' {
  return isThere(file) ? 'there, but not tried' : 'not there';
}

function isThere(file: string): boolean {
  try {
    return statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
  } catch {
    // There is something, of which an attempt to load it will say what is wrong.
    return true;
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
