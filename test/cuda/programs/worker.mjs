// Computes on the GPU and on the CPU, compares the bits, and reports after each round.
import { parentPort, workerData } from 'node:worker_threads';
import { allocPinned, cudaDevice, rowMax, softmax, softmaxJacobian } from 'softmax-native';

const { rounds, seed } = workerData;

const equal = (a, b) => Buffer.compare(Buffer.from(a.buffer), Buffer.from(b.buffer)) === 0;
function check(same, what) {
  if (!same) throw new Error(`${what} differs from the CPU's in the worker with seed ${seed}`);
}

for (let round = 0; round < rounds; round++) {
  const k = 200 + seed;
  const shape = [30, k];
  const x = Float32Array.from({ length: 30 * k }, (_, i) => 5 * Math.sin(seed + round + i));
  const expected = softmax(x, { shape, device: 'cpu' });
  check(equal(softmax(x, { shape, device: 'cuda' }), expected), 'softmax of an array');

  const pinned = allocPinned('float32', x.length);
  check(equal(softmax(x, { shape, device: 'cuda', out: pinned }), expected), 'softmax to page-locked memory');

  const tensor = cudaDevice().tensor(x, { shape });
  const later = tensor.data();
  const probabilities = softmax(tensor);
  const { max, argmax } = rowMax(tensor);
  const jacobian = softmaxJacobian(tensor);
  tensor.dispose();
  check(equal(probabilities.dataSync(), expected), 'softmax of a tensor');
  check(equal(argmax.dataSync(), rowMax(x, { shape, device: 'cpu' }).argmax), 'rowMax of a tensor');
  check(equal(await jacobian.data(), softmaxJacobian(x, { shape, device: 'cpu' })), 'the Jacobian');
  check(equal(await later, x), 'what a tensor held');
  // The last round's are left to the end of the thread.
  if (round + 1 < rounds) for (const result of [probabilities, max, argmax, jacobian]) result.dispose();
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's port has no origin
  parentPort?.postMessage('computed');
}
