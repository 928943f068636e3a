// What the benchmarks share: times, random numbers, and the machine they ran on.
import { execFileSync } from 'node:child_process';
import os from 'node:os';
import { deviceInfo } from 'softmax-native';

/**
 * Nanoseconds a call of each function takes: the median over rounds in which all of them are called in turn, each
 * often enough to last for a while.
 */
export function medianTimes(functions, { rounds = 31, atLeastNanoseconds = 2e6 } = {}) {
  const calls = functions.map((f) => {
    f();
    const once = time(f, 1);
    return Math.max(1, Math.ceil(atLeastNanoseconds / once));
  });
  const times = functions.map(() => []);
  for (let round = 0; round < rounds; round++) {
    functions.forEach((f, i) => times[i].push(time(f, calls[i])));
  }
  return times.map(median);
}

function time(f, calls) {
  const start = process.hrtime.bigint();
  for (let i = 0; i < calls; i++) f();
  return Number(process.hrtime.bigint() - start) / calls;
}

export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value below which a fraction of the numbers lies, interpolated. */
export function quantile(numbers, fraction) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = fraction * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

/** Random numbers in [0, 1), the same ones for the same seed (a linear congruential generator modulo 2^32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

let aMillionNormalNumbers;

/** Fills an array with normal numbers, the same ones again after a million. */
export function normalNumbers(array) {
  if (aMillionNormalNumbers === undefined) {
    const next = random(1);
    aMillionNormalNumbers = Float64Array.from({ length: 2 ** 20 }, () => 3 * gaussian(next));
  }
  const own = array.subarray(0, 2 ** 20);
  own.set(aMillionNormalNumbers.subarray(0, own.length));
  for (let i = own.length; i < array.length; i += own.length) {
    array.set(own.subarray(0, array.length - i), i);
  }
  return array;
}

/** A normally distributed number, after Box and Muller. */
export function gaussian(next) {
  return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

/** The commit that was measured, with a + where kernels or the library differ from it; undefined outside of a clone. */
function commit() {
  const git = (...args) =>
    execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8', stdio: 'pipe' });
  try {
    const changed = git('status', '--porcelain', '--', '../native', '../lib') !== '';
    return git('rev-parse', '--short=10', 'HEAD').trim() + (changed ? '+' : '');
  } catch {
    return undefined;
  }
}

/** Where and when a result was measured. */
export function machine() {
  const { version, isa, threads } = deviceInfo();
  return {
    date: new Date().toISOString().slice(0, 10),
    version,
    isa,
    threads,
    cpu: os.cpus()[0]?.model,
    processors: os.cpus().length,
    load: os.loadavg()[0],
    commit: commit(),
    node: process.version,
    system: `${os.type()} ${os.release()} ${os.arch()}`,
  };
}

/** A line on the standard error output; a passing one is overwritten by the next, and left out where nobody looks. */
export function progress(text, passing = false) {
  const { stderr } = process;
  if (!stderr.isTTY) {
    if (!passing) stderr.write(`${text}\n`);
    return;
  }
  stderr.write(`\r\x1b[K${text.slice(0, stderr.columns - 1)}${passing ? '' : '\n'}`);
}
