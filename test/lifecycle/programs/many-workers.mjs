// The main thread and several workers compute at the same time; the process exits while the last ones still do.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { compute } from './compute.mjs';

compute();
const start = (calls) => new Worker(new URL('worker.mjs', import.meta.url), { workerData: calls });
const finite = [start(3), start(3), start(3)].map((worker) => once(worker, 'exit'));
for (let call = 0; call < 10; call++) compute();
const codes = (await Promise.all(finite)).flat();
if (codes.some((code) => code !== 0)) throw new Error(`workers ended with ${codes.join()}`);

const endless = start(Infinity);
await once(endless, 'message');
process.exit(0);
