// Workers are terminated while their calls in the background use the GPU.
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { softmax } from 'softmax-native/promises';

const x = Float32Array.from({ length: 1 << 20 }, (_, i) => i % 13);
const options = { shape: [1 << 10, 1 << 10], device: 'cuda' };
if (isMainThread) {
  for (let round = 0; round < 3; round++) {
    const worker = new Worker(new URL(import.meta.url));
    await once(worker, 'message');
    await worker.terminate();
  }
  const y = await softmax(x, options);
  if (!(y[0] > 0)) throw new Error('no probability');
} else {
  await softmax(x, options);
  for (let i = 0; i < 8; i++) void softmax(x, options);
  // oxlint-disable-next-line require-post-message-target-origin -- a worker thread, not a window
  parentPort.postMessage('started');
}
