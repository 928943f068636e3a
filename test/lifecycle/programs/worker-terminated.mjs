// Worker threads, the only ones to load the library, are terminated while they compute.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

for (let round = 0; round < 3; round++) {
  const worker = new Worker(new URL('worker.mjs', import.meta.url), { workerData: Infinity });
  const [code] = await once(worker, 'message');
  if (code !== 'ERR_SHAPE_MISMATCH') throw new Error(`a worker was told ${code}`);
  await worker.terminate();
}
