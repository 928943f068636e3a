// The cost model of `device: 'auto'`.
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  assumedCosts,
  choose,
  cpuCosts,
  leastElementsForGpu,
  shortRowBytes,
  slowerThanAvx512,
  startSeconds,
  workPerThread,
  type AutoCosts,
  type Operation,
  type Work,
} from '../../lib/auto.ts';

const source = (file: string): string =>
  readFileSync(new URL(`../../native/cpu/${file}`, import.meta.url), 'utf8');

const work: Work = {
  operation: 'softmax',
  rows: 8192,
  k: 1000,
  contiguous: true,
  elementBytes: 4,
  threads: 8,
  isa: 'avx512',
  pinnedInput: false,
  pinnedOutput: false,
};

const anyWork: fc.Arbitrary<Work> = fc.record({
  operation: fc.constantFrom<Operation>('softmax', 'rowMax', 'softmaxJacobian'),
  rows: fc.integer({ min: 1, max: 1e6 }),
  k: fc.integer({ min: 1, max: 1e6 }),
  contiguous: fc.boolean(),
  elementBytes: fc.constantFrom(4, 8),
  threads: fc.integer({ min: 1, max: 256 }),
  isa: fc.constantFrom('avx512', 'avx2', 'neon', 'scalar'),
  pinnedInput: fc.boolean(),
  pinnedOutput: fc.boolean(),
});
const anyCosts: fc.Arbitrary<AutoCosts> = fc.record({
  upload: fc.double({ min: 1e8, max: 1e12, noNaN: true }),
  download: fc.double({ min: 1e8, max: 1e12, noNaN: true }),
  staging: fc.double({ min: 1e8, max: 1e12, noNaN: true }),
  launch: fc.double({ min: 1e-7, max: 1e-3, noNaN: true }),
});

describe('the constants', () => {
  it('of the CPU are those by which it wakes threads', () => {
    const schedule = source('schedule.cpp');
    const costs = Object.fromEntries(
      [...schedule.matchAll(/^constexpr Cost k(\w)(\w+) = \{([\d']+), ([\d']+)\};/gm)].map(
        ([, first = '', rest = '', row = '', byte = '']) => [
          first.toLowerCase() + rest,
          { row: Number(row.replaceAll("'", '')), byte: Number(byte.replaceAll("'", '')) },
        ],
      ),
    );
    expect(costs).toEqual(cpuCosts);
    const [, nanoseconds = ''] = /work_per_thread\{([\d']+)\}/.exec(schedule) ?? [];
    expect(Number(nanoseconds.replaceAll("'", '')) / 1e9).toBeCloseTo(workPerThread, 12);
    expect(source('kernels.h')).toContain(`kShortRow = ${shortRowBytes} / sizeof(T);`);
    for (const [isa, slower] of Object.entries(slowerThanAvx512)) {
      expect(source(`kernels_${isa}.cpp`)).toContain(`{"${isa}", ${slower}, `);
    }
  });
});

describe('the choice', () => {
  it('is the device whose estimate is less, and the CPU where they are the same', () => {
    fc.assert(
      fc.property(anyWork, anyCosts, fc.boolean(), (call, costs, started) => {
        const { device, cpuSeconds, cudaSeconds } = choose(call, costs, started);
        expect(device).toBe(cudaSeconds < cpuSeconds ? 'cuda' : 'cpu');
        expect(Math.min(cpuSeconds, cudaSeconds)).toBeGreaterThan(0);
        expect(Number.isFinite(cpuSeconds + cudaSeconds)).toBe(true);
      }),
    );
  });

  it('counts the start of a GPU until it is started', () => {
    fc.assert(
      fc.property(anyWork, anyCosts, (call, costs) => {
        const before = choose(call, costs, false);
        const after = choose(call, costs, true);
        expect(before.cudaSeconds).toBe(after.cudaSeconds + startSeconds);
        expect(before.cpuSeconds).toBe(after.cpuSeconds);
        if (after.device === 'cpu') expect(before.device).toBe('cpu');
      }),
    );
  });

  it('never leaves the GPU for page-locked arrays or a faster bus', () => {
    fc.assert(
      fc.property(anyWork, anyCosts, fc.boolean(), (call, costs, started) => {
        const { cudaSeconds } = choose(call, costs, started);
        const pinned = { ...call, pinnedInput: true, pinnedOutput: true };
        expect(choose(pinned, costs, started).cudaSeconds).toBeLessThanOrEqual(cudaSeconds);
        const faster = { ...costs, upload: 2 * costs.upload, staging: 2 * costs.staging };
        expect(choose(call, faster, started).cudaSeconds).toBeLessThanOrEqual(cudaSeconds);
      }),
    );
  });

  it('never leaves the CPU for more threads', () => {
    fc.assert(
      fc.property(anyWork, anyCosts, (call, costs) => {
        const more = { ...call, threads: call.threads + 1 };
        expect(choose(more, costs, true).cpuSeconds).toBeLessThanOrEqual(
          choose(call, costs, true).cpuSeconds,
        );
      }),
    );
  });

  it('takes the assumed costs where none are known', () => {
    expect(choose(work, undefined, true)).toEqual(choose(work, assumedCosts, true));
  });

  it.each<[string, Partial<Work>, boolean, 'cpu' | 'cuda']>([
    ['the CPU for ordinary arrays on a few threads', {}, true, 'cpu'],
    ['the CPU for ordinary arrays on one thread', { threads: 1 }, true, 'cpu'],
    [
      'the CPU for page-locked arrays on many threads',
      { pinnedInput: true, pinnedOutput: true },
      true,
      'cpu',
    ],
    [
      'a started GPU for page-locked arrays on one thread',
      { threads: 1, pinnedInput: true, pinnedOutput: true },
      true,
      'cuda',
    ],
    [
      'the CPU for those where the GPU is not started',
      { threads: 1, pinnedInput: true, pinnedOutput: true },
      false,
      'cpu',
    ],
    ['a started GPU beside portable code', { isa: 'scalar' }, true, 'cuda'],
    [
      'a GPU even from its start for hours of portable code',
      { isa: 'scalar', rows: 1e6, threads: 1 },
      false,
      'cuda',
    ],
    [
      'the CPU for row maxima, which it reads at the speed of its memory',
      { operation: 'rowMax' },
      true,
      'cpu',
    ],
    [
      'the CPU for the Jacobian, whose result is many times what the bus carries up',
      { operation: 'softmaxJacobian', rows: 1000, k: 100 },
      true,
      'cpu',
    ],
  ])('is %s', (_name, call, started, device) => {
    expect(choose({ ...work, ...call }, undefined, started).device).toBe(device);
  });

  it('is the CPU at the floor below which nothing is estimated, where the instruction set is fast', () => {
    for (const isa of ['avx512', 'avx2']) {
      const call: Work = { ...work, rows: 1, k: leastElementsForGpu, isa, threads: 1 };
      expect(choose(call, undefined, true).device).toBe('cpu');
    }
  });
});
