// Worker threads, the only ones to load the library, are terminated while their calls in the background are under way.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

for (let round = 0; round < 5; round++) {
  const workers = [0, 1].map(() => new Worker(new URL('background-worker.mjs', import.meta.url)));
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  await sleep(round * 5);
  await Promise.all(workers.map((worker) => worker.terminate()));
}
await sleep(50);
