// Comparing arrays bit by bit: NaN payloads and the sign of zero count.
import type { FloatArray, Format } from './ulp.ts';

/** The array's memory as 32-bit words, two for a float64. */
function words(array: FloatArray): Uint32Array {
  return new Uint32Array(array.buffer, array.byteOffset, array.byteLength / 4);
}

function hexOf(array: FloatArray, index: number): string {
  const size = array.BYTES_PER_ELEMENT / 4;
  const parts = words(array).subarray(index * size, (index + 1) * size);
  return `0x${Array.from(parts.toReversed(), (word) => word.toString(16).padStart(8, '0')).join('')}`;
}

/** Where two arrays first differ; undefined where they are the same bits. */
export function firstDifference(actual: FloatArray, expected: FloatArray): string | undefined {
  if (actual.BYTES_PER_ELEMENT !== expected.BYTES_PER_ELEMENT) return 'different element types';
  if (actual.length !== expected.length) return `length ${actual.length}, not ${expected.length}`;
  const a = words(actual);
  const b = words(expected);
  for (let word = 0; word < a.length; word++) {
    if (a[word] === b[word]) continue;
    const i = Math.floor((word * 4) / actual.BYTES_PER_ELEMENT);
    return `[${i}] is ${actual[i]} (${hexOf(actual, i)}), not ${expected[i]} (${hexOf(expected, i)})`;
  }
  return undefined;
}

/** Throws where two arrays differ in a bit; `context` says which case it is. */
export function expectSameBits(actual: FloatArray, expected: FloatArray, context: string): void {
  const difference = firstDifference(actual, expected);
  if (difference !== undefined) throw new Error(`${context}: ${difference}`);
}

/** The format's one NaN, as bits: a quiet NaN, positive, without payload. */
export function isCanonicalNaN(array: FloatArray, index: number): boolean {
  const memory = words(array);
  if (array.BYTES_PER_ELEMENT === 4) return memory[index] === 0x7fc00000;
  return memory[2 * index] === 0 && memory[2 * index + 1] === 0x7ff80000;
}

/** Writes a bit pattern that no number literal gives: NaN payloads survive only as integers. */
export function setBits(array: FloatArray, index: number, word: bigint): void {
  const bytes = new DataView(array.buffer, array.byteOffset, array.byteLength);
  if (array.BYTES_PER_ELEMENT === 4) bytes.setUint32(4 * index, Number(word), true);
  else bytes.setBigUint64(8 * index, word, true);
}

/** An array of `length` that starts `offset` elements into its memory, which may be a SharedArrayBuffer. */
export function viewAt(format: Format, offset: number, length: number, shared: boolean): FloatArray {
  const size = format.name === 'float32' ? 4 : 8;
  const bytes = (offset + length + 1) * size;
  const memory = shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
  return format.name === 'float32'
    ? new Float32Array(memory, offset * size, length)
    : new Float64Array(memory, offset * size, length);
}

/** The (k, inner) block whose column i is row i of `rows`, an (inner, k) array. */
export function transposed(rows: FloatArray, inner: number, k: number, format: Format): FloatArray {
  const block = format.array(rows.length);
  for (let i = 0; i < inner; i++) for (let j = 0; j < k; j++) block[j * inner + i] = rows[i * k + j]!;
  return block;
}

const PRIME_LOW = 0x1b3;

/** FNV-1a, 64 bits, over the array's bytes in little-endian order, as 16 hexadecimal digits. */
export function fnv1a(array: FloatArray): string {
  const data = array.slice();
  const bytes = new Uint8Array(data.buffer);
  // hash * (2^40 + 0x1b3) mod 2^64, on halves of 32 bits.
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  for (const byte of bytes) {
    low = (low ^ byte) >>> 0;
    const product = low * PRIME_LOW;
    high = (Math.imul(high, PRIME_LOW) + (low << 8) + Math.floor(product / 0x100000000)) >>> 0;
    low = product >>> 0;
  }
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}
