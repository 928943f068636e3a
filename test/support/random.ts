// Deterministic random numbers: Marsaglia's xorshift128 from a seed, so that a failing row can be made again.

export interface Random {
  /** An integer in [0, 2^32). */
  uint32(): number;
  /** An integer in [0, bound). */
  below(bound: number): number;
  /** In [0, 1), 53 bits. */
  uniform(): number;
  /** Normal, mean 0 and deviation 1 (Marsaglia's polar method). */
  gaussian(): number;
}

export function randomFrom(seed: number): Random {
  let [x, y, z, w] = [seed ^ 0x12345678, 0x9e3779b9, 0x243f6a88, seed ^ 0xb7e15162];
  const uint32 = (): number => {
    const t = x ^ (x << 11);
    [x, y, z] = [y, z, w];
    w = w ^ (w >>> 19) ^ t ^ (t >>> 8);
    return w >>> 0;
  };
  // Neighbouring seeds start alike; a few dozen steps part them.
  for (let i = 0; i < 64; i++) uint32();

  const uniform = (): number => (uint32() * 0x200000 + (uint32() >>> 11)) / 0x20000000000000;
  let spare: number | undefined;
  const gaussian = (): number => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    for (;;) {
      const a = 2 * uniform() - 1;
      const b = 2 * uniform() - 1;
      const s = a * a + b * b;
      if (s === 0 || s >= 1) continue;
      const factor = Math.sqrt((-2 * Math.log(s)) / s);
      spare = b * factor;
      return a * factor;
    }
  };
  return { uint32, below: (bound) => Math.floor(uniform() * bound), uniform, gaussian };
}
