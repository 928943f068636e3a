// The main thread and two workers use the GPU at the same time; both workers end by themselves.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { cudaDevice, softmax } from 'softmax-native';

const start = (seed) =>
  new Worker(new URL('worker.mjs', import.meta.url), { workerData: { rounds: 3, seed } });
const ends = [start(1), start(2)].map((worker) => once(worker, 'exit'));
const x = cudaDevice().tensor(new Float32Array(1000), { shape: [10, 100] });
for (let round = 0; round < 20; round++) {
  const y = softmax(x);
  const [first] = await y.data();
  if (Math.abs(first - 0.01) > 1e-6) throw new Error(`${first}`);
  y.dispose();
}
const codes = (await Promise.all(ends)).flat();
if (codes.some((code) => code !== 0)) throw new Error(`workers ended with ${codes.join()}`);
// The main thread's own tensors have outlived the other environments.
if (x.dataSync()[0] !== 0) throw new Error('a tensor has changed');
