// What the tests of the API share: rows of an array of any rank, and errors as callers see them.
import { expect } from 'vitest';
import type { SoftmaxNativeError as Refused } from '../../lib/index.ts';
import { FLOAT32, FLOAT64, type Format } from '../support/ulp.ts';

export const FORMAT_OF: Record<string, Format> = { Float32Array: FLOAT32, Float64Array: FLOAT64 };

export function product(shape: readonly number[]): number {
  return shape.reduce((total, size) => total * size, 1);
}

/** The flat indices of every row along an axis, found by walking over all multi-indices in row-major order. */
export function rowsAlong(shape: readonly number[], axis: number): number[][] {
  const rows = new Map<string, number[]>();
  const index = shape.map(() => 0);
  for (let flat = 0; flat < product(shape); flat++) {
    const row = index.toSpliced(axis, 1).join();
    rows.set(row, [...(rows.get(row) ?? []), flat]);
    for (
      let dimension = shape.length - 1;
      dimension >= 0 && ++index[dimension]! === shape[dimension];
      dimension--
    ) {
      index[dimension] = 0;
    }
  }
  return [...rows.values()];
}

export interface Refusal {
  type: typeof TypeError | typeof RangeError | typeof Error;
  code: string;
  message: string | RegExp;
}

/** Calls a function that must throw such an error. */
export function expectRefusal(call: () => unknown, { type, code, message }: Refusal): void {
  let error: unknown;
  try {
    call();
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(type);
  expect((error as Refused).code).toBe(code);
  if (typeof message === 'string') expect((error as Refused).message).toBe(message);
  else expect((error as Refused).message).toMatch(message);
  expect((error as Refused).message).toMatch(/^Expected .+ for .+ but received .+$/s);
}

export const wrongType = (message: string | RegExp): Refusal => ({
  type: TypeError,
  code: 'ERR_INVALID_ARG_TYPE',
  message,
});
export const unknownOption = (message: string | RegExp): Refusal => ({
  type: TypeError,
  code: 'ERR_UNKNOWN_OPTION',
  message,
});
export const outOfRange = (message: string | RegExp): Refusal => ({
  type: RangeError,
  code: 'ERR_OUT_OF_RANGE',
  message,
});
export const shapeMismatch = (message: string | RegExp): Refusal => ({
  type: RangeError,
  code: 'ERR_SHAPE_MISMATCH',
  message,
});
export const overlapping = (message: string | RegExp): Refusal => ({
  type: RangeError,
  code: 'ERR_OVERLAP',
  message,
});
export const outOfMemory = (message: string | RegExp): Refusal => ({
  type: RangeError,
  code: 'ERR_OUT_OF_MEMORY',
  message,
});
export const detached = (message: string | RegExp): Refusal => ({
  type: TypeError,
  code: 'ERR_DETACHED',
  message,
});
