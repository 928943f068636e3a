// Computes as often as it is told to, refused calls among the others, and reports after each.
import { parentPort, workerData } from 'node:worker_threads';
import { softmax } from 'softmax-native';
import { compute } from './compute.mjs';

for (let call = 0; call < workerData; call++) {
  compute();
  try {
    softmax(new Float32Array(4), { shape: [5] });
  } catch (error) {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's port has no origin
    parentPort.postMessage(error.code);
  }
}
