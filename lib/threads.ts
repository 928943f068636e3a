// How many threads a call may use: the caller's `threads`, or a default that fits the machine or the container.
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { invalidType, outOfRange } from './errors.ts';

/** Above this OpenMP may fail to start its threads, and then it ends the process. */
const maxThreads = 1024;

let byDefault: number | undefined;

/** The number of threads used where a call does not say: computed once. */
export function defaultThreads(): number {
  byDefault ??= Math.min(fromEnvironment(process.env) ?? fromMachine(), maxThreads);
  return byDefault;
}

/** Checks the option `threads`, the most threads that the call may use. */
export function readThreads(threads: unknown): number {
  return threads === undefined ? (byDefault ?? defaultThreads()) : readGivenThreads(threads);
}

function readGivenThreads(threads: unknown): number {
  if (typeof threads !== 'number') throw invalidType('an integer', 'threads', threads);
  if (!Number.isSafeInteger(threads) || threads < 1)
    throw outOfRange('an integer of at least 1', 'threads', threads);
  return Math.min(threads, maxThreads);
}

/** OMP_NUM_THREADS, whose first item counts for a program without nested parallel regions. */
export function fromEnvironment(environment: NodeJS.ProcessEnv): number | undefined {
  const count = /^\s*\+?(\d+)\s*(?:,|$)/.exec(environment['OMP_NUM_THREADS'] ?? '')?.[1];
  return Number(count) >= 1 ? Number(count) : undefined;
}

function fromMachine(): number {
  // A quota of half a processor still needs one thread.
  return Math.max(1, Math.min(availableParallelism(), Math.ceil(processorQuota(readText))));
}

/**
 * The processor time that the process's control group may use, in processors: 1.5 is 150 ms of every 100 ms; Infinity
 * where nothing is set. availableParallelism() counts the processors of the affinity mask only, so that in a container
 * with a quota as many threads as it says would wait for each other.
 *
 * @param read - gives a file's text, or undefined where there is no such file
 */
export function processorQuota(read: (file: string) => string | undefined): number {
  let quota = Infinity;
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, group] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || group === undefined) continue;
    if (controllers === '') {
      quota = Math.min(
        quota,
        leastQuota('/sys/fs/cgroup', group, (folder) => read(path.posix.join(folder, 'cpu.max'))),
      );
    } else if (controllers.split(',').includes('cpu')) {
      const quotaOf = (folder: string): string =>
        ['cpu.cfs_quota_us', 'cpu.cfs_period_us']
          .map((file) => read(path.posix.join(folder, file)))
          .join(' ');
      quota = Math.min(quota, leastQuota('/sys/fs/cgroup/cpu', group, quotaOf));
    }
  }
  return quota;
}

/**
 * The smallest quota of a control group and the groups it is in, from texts such as '150000 100000'. Inside a container
 * the group's path may be the one outside; then its folder does not exist here, and the root is the container's own.
 */
function leastQuota(root: string, group: string, read: (folder: string) => string | undefined): number {
  let least = Infinity;
  for (let folder = group; ; folder = path.posix.dirname(folder)) {
    const [quota, period] = (read(path.posix.join(root, folder)) ?? '').trim().split(' ').map(Number);
    // `max` is not a number and -1 is not positive: both say that nothing is set.
    if (quota !== undefined && period !== undefined && quota > 0 && period > 0)
      least = Math.min(least, quota / period);
    if (path.posix.dirname(folder) === folder) return least;
  }
}

export function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
