// This library, called as a program calls it.
import { deviceInfo, rowMax, softmax, softmaxJacobian } from 'softmax-native';

const { version, threads: defaultThreads } = deviceInfo();

export const ours = {
  name: 'softmax-native',
  version,
  candidates(c, { inputs, outs }) {
    const { operation, shape, outer, k, inner, axis, threads } = c;
    if (operation === 'jacobian') {
      return [
        { variant: 'out', call: (i) => softmaxJacobian(inputs[i], { shape, threads, out: outs[i] }) },
        { variant: 'fresh', call: (i) => softmaxJacobian(inputs[i], { shape, threads }) },
      ];
    }
    // What is the default is left out, as a program leaves it out.
    if (inner === 1 && threads === defaultThreads) {
      return [
        { variant: 'out', call: (i) => softmax(inputs[i], { shape, out: outs[i] }) },
        { variant: 'fresh', call: (i) => softmax(inputs[i], { shape }) },
      ];
    }
    // As many rows of as many logits, along the last axis of the same arrays.
    const asRows = [outer * inner, k];
    const lastAxis = {
      variant: 'last axis',
      case: { ...c, outer: outer * inner, inner: 1 },
      call: (i) => softmax(inputs[i], { shape: asRows, threads, out: outs[i] }),
    };
    return [
      { variant: 'out', call: (i) => softmax(inputs[i], { shape, axis, threads, out: outs[i] }) },
      { variant: 'fresh', call: (i) => softmax(inputs[i], { shape, axis, threads }) },
      ...(inner > 1 ? [lastAxis] : []),
    ];
  },
};

const x = Float32Array.of(1.25, 2.44, 0.78, 0.12);
const out = new Float32Array(4);
const max = new Float32Array(1);
const argmax = new Int32Array(1);
const entries = new Float32Array(16);
const shape = [1, 4];

/** The forms a call can have, on one row of four logits. */
export const forms = [
  ['softmax(x, { out })', () => softmax(x, { out })],
  ['softmax(x, { shape, out })', () => softmax(x, { shape, out })],
  ['softmax(x, { shape: [1, 4], out })', () => softmax(x, { shape: [1, 4], out })],
  ['softmax(x), a new array each', () => softmax(x)],
  ['softmax of a number[]', () => softmax([1.25, 2.44, 0.78, 0.12])],
  ['rowMax(x, { out: { max, argmax } })', () => rowMax(x, { out: { max, argmax } })],
  ['softmaxJacobian(x, { out })', () => softmaxJacobian(x, { out: entries })],
].map(([form, call]) => ({ form, call }));
