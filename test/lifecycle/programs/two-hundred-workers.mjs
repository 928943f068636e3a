// Worker threads one after another, each of which loads the library, and uses it in the background and at once.
import { once } from 'node:events';
import { isMainThread, Worker } from 'node:worker_threads';

if (isMainThread) {
  for (let i = 0; i < 200; i++) {
    const [code] = await once(new Worker(new URL(import.meta.url)), 'exit');
    if (code !== 0) throw new Error(`worker ${i} ended with ${code}`);
  }
} else {
  const { softmax } = await import('softmax-native');
  const promises = await import('softmax-native/promises');
  const x = new Float32Array(40_000).fill(1);
  const later = await promises.softmax(x);
  if (later[0] !== softmax(x)[0]) throw new Error('other probabilities');
}
