// What a program may do with the arrays of calls in the background: nothing crashes, and results are those of x at the time
// of the call, or a clear error. Run with --expose-gc, on every Node.js that is supported.
import { rowMax as rowMaxSync, softmax as softmaxSync } from 'softmax-native';
import { jacobianRows, rowMax, softmax } from 'softmax-native/promises';

const [rows, k] = [4000, 500];
const shape = [rows, k];
const source = Float32Array.from({ length: rows * k }, (_, i) => ((i * 7919) % 2003) / 100);
const expected = softmaxSync(source, { shape });
const { argmax } = rowMaxSync(source, { shape });

function check(actual, wanted, what) {
  if (!wanted.every((value, i) => value === actual[i])) throw new Error(`${what}: other bits`);
}
function resizable() {
  const x = new Float32Array(new ArrayBuffer(source.byteLength, { maxByteLength: source.byteLength }));
  x.set(source);
  return x;
}
function collect() {
  for (let i = 0; i < 3; i++) globalThis.gc();
}
async function rejected(call, code) {
  const error = await call.then(
    () => undefined,
    (reason) => reason,
  );
  if (error?.code !== code) throw new Error(`expected ${code} but received ${error?.code}`, { cause: error });
}
const detach = (x) => void structuredClone(x.buffer, { transfer: [x.buffer] });

const changes = {
  'written to': (x) => void x.fill(NaN),
  detached: detach,
  'moved by its own method': (x) => void x.buffer.transfer?.(),
  shrunk: (x) => x.buffer.resize(8),
  dropped: () => {},
};
for (const [name, change] of Object.entries(changes)) {
  const calls = [];
  {
    const x = resizable();
    calls.push(softmax(x, { shape }), rowMax(x, { shape }), softmax(x, { shape, out: resizable() }));
    change(x);
  }
  collect();
  const [y, max, out] = await Promise.all(calls);
  check(y, expected, name);
  check(max.argmax, argmax, name);
  check(out, expected, name);

  const x = resizable();
  const iterator = jacobianRows(x, { shape, rowsPerChunk: 2 });
  change(x);
  collect();
  const { value } = await iterator.next();
  const p = expected[0];
  if (!(Math.abs(value.data[0] - p * (1 - p)) < 1e-6 * p)) throw new Error(`${name}: another derivative`);
  await iterator.return();
}

{
  const [gone, small, moved] = [resizable(), resizable(), resizable()];
  const calls = [gone, small, moved].map((out) => softmax(source, { shape, out }));
  detach(gone);
  small.buffer.resize(400);
  const isMoved = moved.buffer.transfer?.() !== undefined;
  collect();
  await rejected(calls[0], 'ERR_DETACHED');
  await rejected(calls[1], 'ERR_SHAPE_MISMATCH');
  if (isMoved) await rejected(calls[2], 'ERR_DETACHED');
  else await calls[2];
}

{
  // Handed over, and shared memory that grows.
  const x = resizable();
  const result = softmax(x, { shape, transfer: true });
  if (x.length !== 0) throw new Error('x was not handed over');
  collect();
  check(await result, expected, 'handed over');

  const memory = new SharedArrayBuffer(source.byteLength, { maxByteLength: 2 * source.byteLength });
  const shared = new Float32Array(memory, 0, source.length);
  shared.set(source);
  const call = softmax(shared, { shape });
  memory.grow(2 * source.byteLength);
  check(await call, expected, 'shared memory that grows');
}

// Results and promises that nobody keeps.
for (let i = 0; i < 20; i++) void softmax(resizable(), { shape });
collect();
check(await softmax(source, { shape }), expected, 'after calls that nobody waits for');
