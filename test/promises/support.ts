// What the tests of the asynchronous functions share: calls on enough elements to be computed by another thread.
import { expect } from 'vitest';
import type { Refusal } from '../unit/support.ts';

/** Above 64 KB, where calls are computed at once. */
export const rows = 300;
export const k = 100;

/** Repeated after a number of elements that divides no shape here. */
const period = Float64Array.from({ length: 10_007 }, (_, i) => Math.sin(i) * 20);

export function logits(type: 'float32' | 'float64' = 'float32', elements = rows * k): Float32Array {
  const x = type === 'float32' ? new Float32Array(elements) : new Float64Array(elements);
  x.set(period.subarray(0, elements));
  for (let filled = period.length; filled < elements; filled *= 2) x.copyWithin(filled, 0, filled);
  return x as Float32Array;
}

export function shared<Array extends Float32Array | Float64Array | Int32Array>(array: Array): Array {
  const copy = new (array.constructor as new (buffer: SharedArrayBuffer) => Array)(
    new SharedArrayBuffer(array.byteLength),
  );
  copy.set(array);
  return copy;
}

export function detach(array: { buffer: ArrayBufferLike }): void {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
}

/** A buffer that can shrink: newer than the compiler's library. */
export interface ResizableBuffer extends ArrayBuffer {
  resize(bytes: number): void;
}

export function resizable(bytes: number): ResizableBuffer {
  const Resizable = ArrayBuffer as unknown as new (bytes: number, options: object) => ResizableBuffer;
  return new Resizable(bytes, { maxByteLength: bytes });
}

export async function expectRejection(
  promise: Promise<unknown>,
  { type, code, message }: Refusal,
): Promise<void> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(type);
  expect((error as { code: string }).code).toBe(code);
  if (typeof message === 'string') expect((error as Error).message).toBe(message);
  else expect((error as Error).message).toMatch(message);
}
