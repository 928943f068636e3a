// What the benchmarks share: times, random numbers, and the machine they ran on.
import { writeFileSync } from 'node:fs';
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

/** Random numbers in [0, 1), the same ones for the same seed (a linear congruential generator modulo 2^32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Softmax of rows of k as a program without this library would write it: the plain loop to compare with. */
export function plainSoftmax(x, y, k) {
  for (let start = 0; start < x.length; start += k) {
    let max = -Infinity;
    for (let j = start; j < start + k; j++) if (x[j] > max) max = x[j];
    let sum = 0;
    for (let j = start; j < start + k; j++) sum += y[j] = Math.exp(x[j] - max);
    for (let j = start; j < start + k; j++) y[j] /= sum;
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
    node: process.version,
    system: `${os.type()} ${os.release()} ${os.arch()}`,
  };
}

export function writeResult(file, result) {
  if (file === undefined) return;
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
  console.log(`wrote ${file}`);
}
