// The cases in which this library is compared with others, by suite. Shapes are (outer, k, inner): see cases.mjs.
import { makeCase } from './cases.mjs';

const both = ['float32', 'float64'];

/** Latency of small calls, all data in the cache. */
function small({ quick }) {
  const inCache = (outer, ks) => ks.map((k) => ({ outer, k, memory: 'cache' }));
  return [
    ...inCache(1, quick ? [4, 1000] : [2, 4, 10, 33, 100, 1000]),
    ...inCache(32, [1000]),
    ...(quick ? [] : inCache(1000, [3])),
    ...(quick ? [] : inCache(1, [4, 1000]).map((shape) => ({ ...shape, dtype: 'float64' }))),
  ];
}

/** Batches of the sizes that classifiers and language models have. */
function batch({ quick }) {
  const shapes = [
    { outer: 65_536, k: 10, memory: 'cache' },
    { outer: 1_000_000, k: 2, memory: 'dram' },
    { outer: 1_000_000, k: 3, memory: 'dram' },
    { outer: 250_000, k: 32, memory: 'dram' },
    { outer: 8192, k: 1000, memory: 'dram' },
    { outer: 128, k: 131_072, memory: 'dram' },
  ];
  if (quick) return [shapes[0], shapes[2], shapes[4]];
  return both.flatMap((dtype) => shapes.map((shape) => ({ ...shape, dtype })));
}

/** GB/s against k: as many rows as make 64 MB of logits. */
function rows({ quick }) {
  const elements = quick ? 2 ** 20 : 2 ** 24;
  const ks = [
    1, 2, 3, 4, 8, 10, 16, 32, 33, 64, 100, 256, 1000, 1024, 4096, 4097, 16_384, 65_536, 131_072, 1_000_000,
    32_000_000,
  ];
  const some = [1, 4, 10, 32, 1000, 4097, 131_072, 1_000_000];
  return (quick ? some : ks).map((k) => ({
    outer: Math.max(1, Math.floor(elements / k)),
    k,
    memory: 'dram',
  }));
}

/** Other axes. This library computes as many rows along the last axis in the same rounds. */
function axis({ quick }) {
  const layouts = [
    { outer: 1, k: 8192, inner: 1000 },
    { outer: 1, k: 1000, inner: 8192 },
    { outer: 1, k: 128, inner: 131_072 },
    { outer: 1, k: 131_072, inner: 128 },
    { outer: 64, k: 1000, inner: 128 },
    { outer: 32, k: 1000, inner: 1024 },
    { outer: 256, k: 1000, inner: 7 },
    { outer: 1000, k: 4, inner: 1000 },
  ];
  return (quick ? [layouts[1], layouts[7]] : layouts).map((layout) => ({ ...layout, memory: 'dram' }));
}

/** Jacobians of 128 MB in DRAM, and of 1 MB or one row in the cache. */
function jacobian({ quick }) {
  const ks = quick ? [4, 33, 1000] : [4, 10, 33, 100, 1000, 4096];
  return (quick ? ['float32'] : both).flatMap((dtype) => {
    const size = dtype === 'float32' ? 4 : 8;
    const rowsFor = (bytes, k) => Math.max(1, Math.floor(bytes / (size * k * k)));
    const dram = ks.map((k) => ({ outer: rowsFor((quick ? 16 : 128) * 2 ** 20, k), k, memory: 'dram' }));
    const cache = ks
      .filter((k) => size * k * k <= 8 * 2 ** 20)
      .map((k) => ({ outer: rowsFor(2 ** 20, k), k, memory: 'cache' }));
    return [...dram, ...cache].map((shape) => ({ ...shape, operation: 'jacobian', dtype }));
  });
}

const suites = { small, batch, rows, axis, jacobian };

export const comparisons = Object.keys(suites);

export function casesOf(suite, { quick, threads }) {
  return suites[suite]({ quick }).map((shape) => makeCase({ ...shape, threads }));
}
