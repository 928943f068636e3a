// 1,000 calls of mixed sizes at once, from the main thread and 8 workers: the bits of the synchronous calls, a bounded
// number of threads, and memory that returns to its level. Run with --expose-gc.
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, Worker } from 'node:worker_threads';
import { rowMax, softmax, softmaxJacobian } from 'softmax-native';
import * as promises from 'softmax-native/promises';

const sizes = [
  [1, 5],
  [300, 100],
  [2, 40_000],
  [3000, 100],
  [100, 2],
  [1, 300_000],
  [1, 400_000],
];
const inputs = sizes.map(([rows, k]) => ({
  x: Float32Array.from({ length: rows * k }, (_, i) => ((i * 7919) % 2003) / 100),
  options: k === 400_000 ? { shape: [rows, k], threads: 1 } : { shape: [rows, k] },
}));
const small = { x: inputs[1].x.slice(0, 6000), options: { shape: [60, 100] } };
const expected = inputs.map(({ x, options }) => [softmax(x, options), rowMax(x, options).argmax]);
const expectedJacobian = softmaxJacobian(small.x, small.options);

function check(actual, wanted) {
  if (Buffer.compare(bytes(actual), bytes(wanted)) !== 0) throw new Error('other bits');
}
function bytes({ buffer, byteOffset, byteLength }) {
  return Buffer.from(buffer, byteOffset, byteLength);
}

async function calls(count) {
  const all = [];
  for (let i = 0; i < count; i++) {
    const n = i % sizes.length;
    const { x, options } = inputs[n];
    if (i % 10 === 9) {
      all.push(
        promises.softmaxJacobian(small.x, small.options).then((result) => check(result, expectedJacobian)),
      );
    } else if (i % 2 === 0) {
      all.push(promises.softmax(x, options).then((result) => check(result, expected[n][0])));
    } else {
      all.push(promises.rowMax(x, options).then(({ argmax }) => check(argmax, expected[n][1])));
    }
  }
  await Promise.all(all);
}

if (isMainThread) {
  const threads = () => readdirSync('/proc/self/task').length;
  const resident = async () => {
    globalThis.gc();
    await calls(4);
    // After a second without calls the heap gives back what it has kept.
    for (let i = 0; i < 20; i++) {
      globalThis.gc();
      await sleep(100);
    }
    return process.memoryUsage.rss() / 2 ** 20;
  };
  const round = async () => {
    const workers = Array.from({ length: 8 }, () => new Worker(new URL(import.meta.url)));
    const ends = workers.map((worker) => once(worker, 'exit'));
    await calls(1000);
    for (const [code] of await Promise.all(ends))
      if (code !== 0) throw new Error(`a worker ended with ${code}`);
  };
  const threadsBefore = threads();
  await round();
  const before = await resident();
  for (let i = 0; i < 3; i++) await round();
  const after = await resident();
  console.log(JSON.stringify({ threads: threads() - threadsBefore, megabytes: Math.round(after - before) }));
} else {
  await calls(125);
}
