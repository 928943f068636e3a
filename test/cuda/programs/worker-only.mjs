// The GPU is used in workers only, one after the other; then the process lives on for a while.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

for (let seed = 0; seed < 2; seed++) {
  const worker = new Worker(new URL('worker.mjs', import.meta.url), { workerData: { rounds: 2, seed } });
  const [code] = await once(worker, 'exit');
  if (code !== 0) throw new Error(`a worker ended with ${code}`);
}
await sleep(50);
