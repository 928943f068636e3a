// Calls of the asynchronous functions that several threads share, with their results checked.
import { softmax as softmaxSync } from 'softmax-native';
import { jacobianRows, rowMax, softmax, softmaxJacobian } from 'softmax-native/promises';

const rows = 20_000;
const k = 100;
const logits = Float32Array.from({ length: rows * k }, (_, i) => ((i * 7919) % 2003) / 100);
const shape = [rows, k];

/** Large enough to be computed by another thread. */
export async function computeLater() {
  const calls = [
    softmax(logits, { shape }),
    rowMax(logits, { shape }),
    softmaxJacobian(logits.slice(0, 500)),
    softmax(logits, { shape, threads: 1 }),
    softmax(logits, { shape, threads: 1 }),
  ];
  const [probabilities, { argmax }, jacobian, ...onOneThread] = await Promise.all(calls);
  const expected = softmaxSync(logits, { shape });
  for (const result of [probabilities, ...onOneThread]) {
    if (!expected.every((value, i) => value === result[i])) throw new Error('other probabilities');
  }
  if (argmax.length !== rows || jacobian.length !== 250_000) throw new Error('other sizes');
  for await (const { data } of jacobianRows(logits, { shape, rowsPerChunk: 300 })) {
    if (!(data[0] >= 0)) throw new Error('no derivative');
    break;
  }
}

/** Some seconds of work, of every kind, that nobody waits for. */
export function start() {
  const large = Float32Array.from({ length: 8000 }, (_, i) => i % 17);
  const calls = [logits, logits.slice()].flatMap((x) => [
    softmax(x, { shape }),
    softmax(x),
    softmax(x, { threads: 1 }),
    rowMax(x, { shape, threads: 1 }),
    rowMax(x, { shape }),
  ]);
  for (let i = 0; i < 8; i++) calls.push(softmaxJacobian(large));
  for (const call of calls) call.catch(() => {});
}
