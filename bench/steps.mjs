// Whether the time for an element jumps from one k to the next: rows of 1 to 5000 logits, in the cache, on one thread.
import { deviceInfo, softmax } from 'softmax-native';
import { median, normalNumbers } from './support.mjs';
import { timerOf } from './timer.mjs';

const elements = 2 ** 15;
const bytesOfVector = { avx512: 64, avx2: 32, neon: 16 };

/**
 * The ten largest steps of nanoseconds per element from k to k + 1, as ratios, beside what the number of vectors that a
 * row takes makes of it. Each k is timed in seven rounds through all of them, of which the fastest counts; the largest
 * steps are then timed again with both k in turns.
 */
export async function findSteps({ quick, progress }) {
  const most = quick ? 300 : 5000;
  const x = normalNumbers(new Float32Array(elements));
  const y = new Float32Array(elements);
  const lanes = (bytesOfVector[deviceInfo().isa] ?? 4) / 4;
  const timed = (k) => {
    const rows = Math.floor(elements / k);
    const input = x.subarray(0, rows * k);
    const shape = [rows, k];
    const time = timerOf({ call: () => softmax(input, { shape, out: y, threads: 1 }) }, 1);
    return (calls) => time(calls) / calls / (rows * k);
  };
  const timers = Array.from({ length: most }, (_, i) => timed(i + 1));
  const fastest = timers.map(() => Infinity);
  for (let round = 0; round < 7; round++) {
    progress(`time for an element at k = 1 to ${most}: round ${round + 1} of 7`, true);
    timers.forEach((time, i) => {
      fastest[i] = Math.min(fastest[i], time(4));
    });
  }
  const stepAt = (k) => fastest[k] / fastest[k - 1];
  const largest = Array.from({ length: most - 1 }, (_, i) => i + 1)
    .toSorted((a, b) => stepAt(b) - stepAt(a))
    .slice(0, 30);
  return largest
    .map((k) => {
      const ratios = Array.from({ length: 31 }, () => {
        const before = timers[k - 1](8);
        return timers[k](8) / before;
      });
      const vectors = (length) => Math.ceil(length / lanes) / length;
      return { k, step: median(ratios), ofVectors: vectors(k + 1) / vectors(k) };
    })
    .toSorted((a, b) => b.step / b.ofVectors - a.step / a.ofVectors)
    .slice(0, 10);
}
