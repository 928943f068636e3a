// Whether the time for an element jumps, up or down, from one k to the next: rows of 2 to 5000 logits, in the cache, on
// one thread. (Rows of one logit are filled with ones.)
import { deviceInfo, softmax } from 'softmax-native';
import { median, normalNumbers } from './support.mjs';
import { timerOf } from './timer.mjs';

const elements = 2 ** 15;
const bytesOfVector = { avx512: 64, avx2: 32, neon: 16 };

// Up to this length rows lie side by side, one in each lane (kShortRow in native/cpu/kernels.h): a vector holds a column.
const longestSideBySide = 128;

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
  const vectors = (length) => Math.ceil(length / lanes) / length;
  const ofVectors = (k) => (k <= longestSideBySide ? 1 : vectors(k + 1) / vectors(k));
  const size = (ratio) => Math.max(ratio, 1 / ratio);
  const stepAt = (k) => size(fastest[k] / fastest[k - 1] / ofVectors(k));
  const largest = Array.from({ length: most - 2 }, (_, i) => i + 2)
    .toSorted((a, b) => stepAt(b) - stepAt(a))
    .slice(0, 30);
  return largest
    .map((k) => {
      const ratios = Array.from({ length: 31 }, () => {
        const before = timers[k - 1](8);
        return timers[k](8) / before;
      });
      return { k, step: median(ratios), ofVectors: ofVectors(k) };
    })
    .toSorted((a, b) => size(b.step / b.ofVectors) - size(a.step / a.ofVectors))
    .slice(0, 10);
}
