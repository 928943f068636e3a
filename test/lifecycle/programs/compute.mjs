// A call of each function that several threads share, and small calls, with their results checked.
import { threadId } from 'node:worker_threads';
import { rowMax, softmax, softmaxJacobian } from 'softmax-native';

// Enough for each function to be worth a second thread.
const rows = 20_000;
const k = 100;
const logits = Float32Array.from({ length: rows * k }, (_, i) => Math.sin(i) * 10);

export function compute() {
  const probabilities = softmax(logits, { shape: [rows, k], threads: 4 });
  let total = 0;
  for (const probability of probabilities) total += probability;
  if (Math.abs(total - rows) > 1e-2) throw new Error(`probabilities of ${rows} rows add up to ${total}`);

  const { argmax } = rowMax(logits, { shape: [rows, k], threads: 4 });
  if (argmax.length !== rows) throw new Error(`${argmax.length} rows`);
  softmaxJacobian(logits.subarray(0, 200 * k), { shape: [200, k], threads: 4 });

  // Few elements go through a buffer, which no other thread may use.
  for (let i = 0; i < 1000; i++) {
    const { max } = rowMax(Float32Array.of(threadId, i));
    if (max[0] !== Math.max(threadId, i)) throw new Error(`the maximum of ${threadId} and ${i} is ${max[0]}`);
  }
}
