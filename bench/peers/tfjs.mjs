// TensorFlow.js with its plain JavaScript and its WebAssembly back end, from tensor to tensor: no copies to or from
// typed arrays are counted. It has float32 only.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { versionOf } from './version.mjs';

export async function load(backend) {
  const tf = await import('@tensorflow/tfjs-core');
  tf.enableProdMode(); // no checks, and no advertisement
  if (backend === 'wasm') {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
    setWasmPaths(`${path.dirname(fileURLToPath(import.meta.resolve('@tensorflow/tfjs-backend-wasm')))}/`);
  } else {
    await import('@tensorflow/tfjs-backend-cpu');
  }
  if (!(await tf.setBackend(backend))) throw new Error(`the back end ${backend} does not start`);
  return { name: `TensorFlow.js ${backend}`, version: versionOf('@tensorflow/tfjs-core'), candidates };

  async function candidates({ operation, dtype, shape, inner, elements }, { inputs }) {
    // It takes the last axis only.
    if (operation !== 'softmax' || dtype !== 'float32' || inner > 1) return [];
    // Larger arrays take this back end seconds.
    if (backend === 'cpu' && elements > 2 ** 21) return [];
    await tf.setBackend(backend);
    const tensors = inputs.map((x) => tf.tensor(x, shape));
    let last;
    return [
      {
        variant: 'fresh',
        before: () => tf.setBackend(backend),
        call(i) {
          last?.dispose();
          last = tf.softmax(tensors[i]);
          return last;
        },
        read: (tensor) => tensor.dataSync(),
        release: () => tf.dispose([...tensors, last]),
      },
    ];
  }
}
