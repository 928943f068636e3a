// Workers are terminated while they use the GPU, the last one by the end of the process.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

const start = (seed) =>
  new Worker(new URL('worker.mjs', import.meta.url), { workerData: { rounds: Infinity, seed } });
for (let round = 0; round < 2; round++) {
  const worker = start(round);
  await once(worker, 'message');
  await worker.terminate();
}
await once(start(2), 'message');
process.exit(0);
