// The library is loaded in worker threads only, which end by themselves, one after another; then the process lives on.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

for (let round = 0; round < 3; round++) {
  const [code] = await once(new Worker(new URL('worker.mjs', import.meta.url), { workerData: 2 }), 'exit');
  if (code !== 0) throw new Error(`a worker ended with ${code}`);
}
await sleep(50);
