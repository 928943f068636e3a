// Has calls in the background under way until it is terminated.
import { parentPort } from 'node:worker_threads';
import { start } from './compute-later.mjs';

setInterval(start, 50);
start();
// oxlint-disable-next-line require-post-message-target-origin -- a worker thread, not a window
parentPort.postMessage('started');
