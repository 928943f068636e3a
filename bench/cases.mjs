// What is measured: an operation on an array of (outer, k, inner) logits, in which each (outer, inner) pair is one row
// of k logits, as in native/cpu/cpu.h; and the data it is measured on.
import { readdirSync, readFileSync } from 'node:fs';
import { normalNumbers } from './support.mjs';

/** Bytes of the last-level cache of the first processor, 32 MB where the system does not tell. */
export const cacheBytes = lastLevelCache() ?? 32 * 2 ** 20;

function lastLevelCache() {
  const folder = '/sys/devices/system/cpu/cpu0/cache';
  try {
    const sizes = readdirSync(folder)
      .filter((name) => name.startsWith('index'))
      .map((name) => Number.parseInt(readFileSync(`${folder}/${name}/size`, 'utf8'), 10) * 1024);
    return Math.max(...sizes);
  } catch {
    return undefined;
  }
}

/**
 * A case. `memory` is 'cache' for data used again and again, or 'dram' for `slots` inputs and results used in turn that
 * together are more than twice the last-level cache. `bytes` are those that must be read and written: x and y for
 * softmax, the Jacobian alone for the Jacobian.
 */
export function makeCase({
  operation = 'softmax',
  dtype = 'float32',
  outer = 1,
  k,
  inner = 1,
  memory,
  threads,
}) {
  const size = dtype === 'float32' ? 4 : 8;
  const elements = outer * k * inner;
  const resultElements = operation === 'jacobian' ? elements * k : elements;
  const slotBytes = size * (elements + resultElements);
  return {
    operation,
    dtype,
    outer,
    k,
    inner,
    memory,
    threads,
    shape: inner === 1 ? [outer, k] : outer === 1 ? [k, inner] : [outer, k, inner],
    axis: inner === 1 || outer > 1 ? 1 : 0,
    elements,
    resultElements,
    bytes: operation === 'jacobian' ? size * resultElements : slotBytes,
    slots: memory === 'dram' ? Math.ceil((2 * cacheBytes) / slotBytes) : 1,
  };
}

/** Random logits, and memory for results. */
export function makeData({ dtype, elements, resultElements, slots }) {
  const Type = dtype === 'float32' ? Float32Array : Float64Array;
  const arrays = (make) => Array.from({ length: slots }, make);
  return {
    inputs: arrays(() => normalNumbers(new Type(elements))),
    // Written to, as the system hands out memory at the first use only.
    outs: arrays(() => new Type(resultElements).fill(1)),
  };
}

/** Whether a result can be right: probabilities of the first row add up to 1, the first line of a Jacobian to 0. */
export function looksRight({ operation, k, inner, resultElements }, result) {
  if (result.length !== resultElements) return false;
  const step = operation === 'softmax' ? inner : 1;
  let sum = 0;
  for (let j = 0; j < k; j++) sum += result[j * step];
  return result[0] > 0 && Math.abs(sum - (operation === 'softmax' ? 1 : 0)) < 1e-3;
}
