// ONNX Runtime with a model of one Softmax node. Its tensors are typed arrays, in and out; its calls are asynchronous.
import { quiet } from '../timer.mjs';

export async function load() {
  const ort = (await import('onnxruntime-node')).default;
  return { name: 'ONNX Runtime', version: ort.env.versions.node, candidates };

  async function candidates({ operation, dtype, shape, axis, threads }, { inputs, outs }) {
    if (operation !== 'softmax') return [];
    const session = await ort.InferenceSession.create(softmaxModel(dtype, axis), {
      intraOpNumThreads: threads,
    });
    const tensor = (array) => new ort.Tensor(dtype, array, shape);
    const feeds = inputs.map((x) => ({ x: tensor(x) }));
    const fetches = outs.map((y) => ({ y: tensor(y) }));
    const read = ({ y }) => y.data;
    return [
      {
        variant: 'out',
        wait: true,
        call: (i) => session.run(feeds[i], fetches[i]),
        read,
        after: quiet,
      },
      {
        variant: 'fresh',
        wait: true,
        call: (i) => session.run(feeds[i]),
        read,
        after: quiet,
        release: () => session.release(),
      },
    ];
  }
}

/** The bytes of an ONNX model y = Softmax(x) along `axis`, for tensors of any shape. */
function softmaxModel(dtype, axis) {
  const elementType = { float32: 1, float64: 11 }[dtype];
  const attribute = message([1, 'axis'], [3, axis], [20, 2]); // 2: an integer
  const node = message([1, 'x'], [2, 'y'], [4, 'Softmax'], [5, attribute]);
  const valueInfo = (name) => message([1, name], [2, message([1, message([1, elementType])])]);
  const graph = message([1, node], [2, 'softmax'], [11, valueInfo('x')], [12, valueInfo('y')]);
  return message([1, 8], [7, graph], [8, message([2, 13])]); // IR version 8, operator set 13
}

/** A message in Protocol Buffers' encoding: numbers below 128, texts and messages by their field numbers. */
function message(...fields) {
  return Buffer.concat(
    fields.flatMap(([field, value]) => {
      if (typeof value === 'number') return [Buffer.from([...varint(field << 3), value])];
      const bytes = Buffer.from(value);
      return [Buffer.from([...varint((field << 3) | 2), ...varint(bytes.length)]), bytes];
    }),
  );
}

function varint(number) {
  return number < 128 ? [number] : [(number & 127) | 128, ...varint(number >> 7)];
}
