// A process's first calls on a GPU, each of a kernel that it has not run before, and the same calls again: JSON, for
// bench/gpu.mjs. Starting the GPU comes first and apart. Where the driver compiles, it may take all kernels of a source
// file together: those of the first two calls, and of the one with float64, are in one.
import { performance } from 'node:perf_hooks';
import { cudaDevice, rowMax, softmax, softmaxJacobian } from 'softmax-native';

const [device = '0'] = process.argv.slice(2);
const results = [];

async function measure(call, run) {
  const times = [];
  for (let i = 0; i < 2; i++) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  const [first, second] = times.map((time) => Number(time.toPrecision(4)));
  results.push({ call, first, second });
}

const tensor = (shape, type = Float32Array) =>
  cudaDevice(Number(device)).tensor(new type(shape[0] * shape[1]), { shape });
await measure('starting, and a tensor', () => tensor([1, 1]));
for (const [call, compute, x] of [
  ['softmax, 100 x 10', softmax, tensor([100, 10])],
  ['softmax, 100 x 1,000', softmax, tensor([100, 1000])],
  ['softmax, 100 x 5,000', softmax, tensor([100, 5000])],
  ['softmax, 100 x 1,000 of float64', softmax, tensor([100, 1000], Float64Array)],
  ['rowMax, 100 x 1,000', (logits) => rowMax(logits).max, tensor([100, 1000])],
  ['softmaxJacobian, 100 x 10', softmaxJacobian, tensor([100, 10])],
]) {
  await measure(call, () => compute(x).data());
}
console.log(JSON.stringify(results));
