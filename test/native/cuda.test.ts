// The CUDA kernels themselves, below the addon: bits on the emulated device and on a GPU where there is one, and the
// launch policy as a function.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { expectBitsOnEmulated, program } from './cuda-bits.ts';

describe('the kernels on an emulated device', () => {
  const launched = new Set<string>();
  const regimes = new Map<string, ReadonlySet<string>>();

  // test/long/cuda-bits.test.ts has sm_120, which is much as sm_90.
  it.concurrent.each(['sm_75', 'sm_80', 'sm_90', 'sm_80 with 2 multiprocessors'])(
    'give the bits of the CPU in every regime of %s, with no access that is not theirs to make',
    async (name) => {
      const found = await expectBitsOnEmulated(name);
      regimes.set(name, found.regimes);
      for (const kernel of found.kernels) launched.add(kernel);
    },
    240_000,
  );

  it('were all launched, in every instance that is compiled', () => {
    expect([...launched].toSorted()).toEqual(instances.toSorted());
    const expected = {
      sm_75: ['block', 'columns', 'shared', 'split', 'split columns', 'stream', 'tile', 'warp'],
      sm_80: ['block', 'columns', 'shared', 'split', 'split columns', 'tile', 'warp'],
      sm_90: ['block', 'cluster', 'columns', 'shared', 'split', 'split columns', 'tile', 'warp'],
    };
    for (const [device, names] of Object.entries(expected)) {
      expect([...(regimes.get(device) ?? [])].toSorted(), device).toEqual(names);
    }
    console.log(`${launched.size} kernels were launched, in every regime`);
  });
});

// Every instance of a kernel; test/long/kernel-resources.test.ts finds the same ones in what nvcc compiles.
const types = ['float', 'double'];
// Rows of one lane, of more, of float64 whose exponentials wait in shared memory; in vectors where they have as many
// elements.
const tiles = [
  ...types.flatMap((type) =>
    (type === 'float' ? [2, 4, 8, 16, 32] : [2, 4, 8]).flatMap((elements) => [
      ...vectorsOf(type, elements).map(
        (v) => `tile_softmax<${type}, ${elements}, ${v}, true, AdjacentLanes<1>>`,
      ),
      `tile_softmax<${type}, ${elements}, 1, false, AdjacentLanes<1>>`,
    ]),
  ),
  ...types.flatMap((type) => {
    const elements = type === 'float' ? 32 : 8;
    return [
      ...[2, 4, 8, 16, 32].flatMap((lanes) =>
        // Of float32 such rows have a warp's registers.
        (type === 'float' && lanes === 32 ? [1] : vectorsOf(type, elements)).map(
          (v) => `tile_softmax<${type}, ${elements}, ${v}, true, AdjacentLanes<${lanes}>>`,
        ),
      ),
      `tile_softmax<${type}, ${elements}, 1, false, AdjacentLanes<32>>`,
      `tile_softmax<${type}, ${elements}, 1, false, LanesApart>`,
    ];
  }),
  ...[true, false].map((contiguous) => `tile_softmax<double, 8, 1, ${contiguous}, WholeWarp>`),
];
function vectorsOf(type: string, elements: number): number[] {
  const vector = type === 'float' ? 4 : 2;
  return elements >= vector ? [1, vector] : [1];
}
const instances = [
  ...tiles,
  ...types.map((type) => `single_softmax<${type}>`),
  ...[16, 32].map((elements) => `warp_softmax<${elements}>`),
  ...[1, 4].map((vector) => `block_softmax<${vector}>`),
  ...['float, 1', 'float, 4', 'double, 1'].flatMap((instance) => [
    `stream_softmax<${instance}, true>`,
    `stream_softmax<${instance}, false>`,
    `split_sums<${instance}>`,
    `split_sums_again<${instance}>`,
    `split_probabilities<${instance}>`,
  ]),
  ...['float, 1', 'float, 4', 'double, 1', 'double, 2'].flatMap((instance) => [
    `short_row_max<${instance}>`,
    `column_max<${instance}>`,
  ]),
  ...['float, 8', 'float, 32', 'double, 8'].map((instance) => `jacobian_short_rows<${instance}>`),
  ...types.flatMap((type) =>
    [
      'column_softmax',
      'column_sums',
      'column_probabilities',
      'long_row_max',
      'merge_row_max',
      'tile_jacobian',
      'jacobian_long_rows',
      'jacobian_stream',
    ].map((kernel) => `${kernel}<${type}>`),
  ),
];

describe("a warp's tree of sums", () => {
  it('is that of the CPU on an emulated device, for as many as 33,825 parts', () => {
    const { status, stdout, stderr } = spawnSync(program('warp_tree_emulated'), { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^26 trees, 0 failed$/m);
    expect(status).toBe(0);
  });

  it('is that of the CPU on a GPU', ({ skip }) => {
    skip(!existsSync(program('warp_tree')), 'built without nvcc');
    const { status, stdout, stderr } = spawnSync(program('warp_tree'), { encoding: 'utf8' });
    skip(/cudaError(InsufficientDriver|NoDevice)/.test(stderr), `no CUDA device: ${stderr.trim()}`);
    expect(stdout).toMatch(/^26 trees, 0 failed$/m);
    expect(status).toBe(0);
  });
});

describe('the kernels on a GPU', () => {
  it('give the bits of the CPU in every regime', ({ skip }) => {
    skip(!existsSync(program('cuda_bits')), 'built without nvcc');
    const { status, stdout } = spawnSync(program('cuda_bits'), ['quick', 'lesser'], { encoding: 'utf8' });
    skip(/cudaError(InsufficientDriver|NoDevice)/.test(stdout), `no CUDA device: ${stdout.trim()}`);
    expect(stdout).toMatch(/comparisons, 0 failed/);
    expect(status).toBe(0);
  });
});

interface Range {
  first: number;
  last: number;
  regime: string;
  /** Of the array through the memory: 2 where it is read once and written once. */
  passes: number;
  /** Loads of a multiprocessor. */
  bytesInFlight: number;
  /** The largest ratio of the predicted times for an element at k + 1 and k. */
  step: number;
  /** At the last length, for each multiprocessor. */
  blocks: number;
  registers: number;
  sharedBytes: number;
}

interface Table {
  device: string;
  operation: 'softmax' | 'rowMax' | 'jacobian';
  elementSize: number;
  rows: 'many' | 'few';
  inner: number;
  ranges: Range[];
}

describe('the launch policy, for rows of every length', () => {
  const tables = JSON.parse(
    spawnSync(program('policy_table'), { encoding: 'utf8', maxBuffer: 2 ** 24 }).stdout,
  ) as Table[];
  const select = (operation: Table['operation'], rows: Table['rows']) =>
    tables.filter((table) => table.operation === operation && table.rows === rows);

  it('makes plans that can be launched, leave no row out and have room for what they put into shared memory', () => {
    const { status, stdout } = spawnSync(program('policy_table'), ['plans'], { encoding: 'utf8' });
    expect(stdout).toMatch(/^\d{6,} plans, 0 wrong\n$/);
    expect(status).toBe(0);
  });

  it('covers every length on every GPU, along the last axis and others', () => {
    expect(new Set(tables.map(({ device }) => device)).size).toBe(8);
    expect(select('softmax', 'many').length).toBe(8 * 2 * 3);
    for (const { ranges, operation } of tables) {
      expect(ranges[0]?.first).toBe(1);
      expect(ranges.at(-1)?.last).toBe(operation === 'jacobian' ? 2000 : 300_000);
      for (const [i, range] of ranges.slice(1).entries())
        expect(range.first).toBe((ranges[i]?.last ?? 0) + 1);
    }
  });

  // In bytes for each multiprocessor; CUB's tuning asks for as much.
  const wanted = (device: string) =>
    1024 * ({ sm_75: 8, sm_90: 32, 'sm_90 (H200)': 48, sm_100: 64 }[device] ?? 16);
  // Their memory is so fast, for each multiprocessor, that the registers that long rows take leave too few loads on
  // their way, and arithmetic limits where the memory does on others.
  const outrunsKernels = (device: string) => /^sm_(90 \(H200\)|100)$/.test(device);

  it.each(select('softmax', 'many'))(
    'reads and writes once where the chip can hold a row: $device, $elementSize bytes, $inner adjacent rows',
    ({ device, elementSize, inner, ranges }) => {
      console.log(
        `${device}, ${elementSize} bytes, inner ${inner}: regime, passes, loads in flight, largest step`,
        ranges.map(({ first, last, regime, passes, bytesInFlight, step }) =>
          [first, last, regime, passes, `${(bytesInFlight / 1024).toFixed(0)} KB`, step].join('  '),
        ),
      );
      for (const { first, regime, passes, bytesInFlight, step } of ranges) {
        const held = !/^(stream|split)/.test(regime);
        // Clusters of 16 hold any contiguous row of these (of float32 those whose exponentials they hold: to read the
        // others twice was quicker); along other axes several rows share the room.
        const alone = /^sm_(90|100)/.test(device) && inner === 1;
        const longest = elementSize === 4 ? 262_144 : 300_000;
        const clusters = { sm_90: 98_304, 'sm_90 (H200)': 98_304, sm_100: 98_304, sm_120: 22_528 }[device];
        if (first <= (alone ? longest : (clusters ?? 1024))) expect(held, `k = ${first}`).toBe(true);
        expect(passes).toBeLessThanOrEqual(held ? 2 : 3);
        // Nine columns go to two tiles, which take fewer at a time than the room is meant for.
        const fast = outrunsKernels(device);
        const inRegisters = /^(warp|block|cluster)/.test(regime);
        // Tiles have as many rows as their lanes work on at a time: some are smaller than they might be.
        const share =
          fast && inRegisters
            ? 0.4
            : regime === 'tile' && (inner > 1 || device === 'sm_100')
              ? 0.5
              : inner === 9
                ? 0.8
                : device === 'sm_100'
                  ? 0.95
                  : 1;
        expect(bytesInFlight, `k = ${first}`).toBeGreaterThanOrEqual(share * wanted(device));
        // Where a row stops fitting, the third pass is the price. Elsewhere a column more costs at most what the lanes
        // of a short row that have none compute along, and what it is to compute exponentials twice.
        const twice = fast && regime === 'shared x16' ? 1.9 : undefined;
        // Of columns of more than 1024 elements all exponentials are computed twice.
        const computed = elementSize === 4 && regime.startsWith('columns') ? 1.8 : undefined;
        const fastTiles = regime !== 'tile' ? undefined : inner > 1 ? 2 : fast ? 1.4 : undefined;
        const most =
          twice ?? computed ?? fastTiles ?? (fast && inRegisters ? 1.5 : held ? 1.3 : fast ? 1.9 : 1.55);
        expect(step, `k = ${first}`).toBeLessThanOrEqual(most);
      }
    },
  );

  it('costs few rows no more than a launch that waits for others', () => {
    for (const { device, inner, ranges } of select('softmax', 'few')) {
      for (const { first, step } of ranges) {
        expect(step, `${device}, inner ${inner}, k = ${first}`).toBeLessThanOrEqual(2.1);
      }
    }
  });

  it.each(select('rowMax', 'many'))(
    'keeps enough loads on their way for row max: $device, $elementSize bytes, $inner adjacent rows',
    ({ device, ranges }) => {
      // Rows of 1 to 3 elements are no more than as many loads a thread, and those of 5 three: of the 1024 threads that
      // registers leave on 10.0 and 12.0 that is 12 KB, elsewhere 18. Where more is wanted, short rows do not reach the
      // memory's rate, by this model.
      const longer = ranges.filter(({ first }) => first >= 4);
      const least = Math.min(...longer.map(({ bytesInFlight }) => bytesInFlight));
      const possible = 1024 * (/^sm_(100|120)/.test(device) ? 12 : 18);
      expect(least).toBeGreaterThanOrEqual(Math.min(wanted(device), possible));
    },
  );

  it('spreads few long rows over the whole GPU', () => {
    const few = [...select('softmax', 'few'), ...select('rowMax', 'few')];
    for (const { device, operation, inner, ranges } of few) {
      // One multiprocessor alone reaches 2.6 times its share of the memory's rate (policy.h).
      const least = operation === 'softmax' ? 0.4 : 0.8;
      const last = ranges.at(-1);
      expect(last?.blocks, `${operation} on ${device}, inner ${inner}`).toBeGreaterThanOrEqual(least);
    }
  });

  it('writes the Jacobian in whole lines, with work for every multiprocessor', () => {
    for (const rows of ['many', 'few'] as const) {
      for (const { device, elementSize, ranges } of select('jacobian', rows)) {
        expect(ranges.map(({ regime }) => regime)).toEqual(['tile', 'stream']);
        for (const { blocks, sharedBytes } of ranges) {
          // The few of 128 columns are no more than 128 rows of float64.
          expect(blocks, `${device}, ${elementSize} bytes`).toBeGreaterThanOrEqual(
            rows === 'many' ? 2 : 0.75,
          );
          expect(sharedBytes).toBeLessThanOrEqual(48 * 1024);
        }
      }
    }
  });

  it('counts with no fewer registers than the kernels need', () => {
    const { kernels } = JSON.parse(
      readFileSync(new URL('../../bench/results/kernel-resources.json', import.meta.url), 'utf8'),
    ) as { kernels: { kernel: string; architecture: string; registers?: number }[] };
    const needed = (name: RegExp, device: string) =>
      Math.max(
        ...kernels
          .filter(({ kernel, architecture }) => name.test(kernel) && architecture === device.split(' ')[0])
          .map(({ registers }) => registers ?? 0),
      );
    for (const { device, elementSize, inner, ranges } of select('rowMax', 'many')) {
      const type = elementSize === 4 ? 'float' : 'double';
      const vector = 16 / elementSize;
      for (const { regime, registers, first } of ranges) {
        const kernel = regime.startsWith('columns')
          ? 'column'
          : regime.startsWith('blocks')
            ? 'long_row'
            : 'short_row';
        if (first < 4) continue; // several of them
        const instance = kernel === 'column' ? `${type}, ${inner % vector === 0 ? vector : 1}>` : type;
        const most = needed(new RegExp(`^${kernel}_max<${instance}`), device);
        expect(most, kernel).toBeGreaterThan(0);
        expect(registers, `${kernel}_max on ${device}`).toBeGreaterThanOrEqual(most);
      }
    }
    for (const { device, elementSize, inner, ranges } of select('softmax', 'many')) {
      const type = elementSize === 4 ? 'float' : 'double';
      for (const { regime, registers, first, last } of ranges) {
        const kernel = {
          tile: `tile_softmax<${type}, \\d+, \\d, ${inner === 1}, `,
          warp: `warp_softmax<${first > 512 ? '32' : last <= 512 ? '16' : '(16|32)'}>`,
          block: 'block_softmax',
          cluster: 'block_softmax',
          shared: `stream_softmax<${type}, \\d, true>`,
          stream: `stream_softmax<${type}, \\d, false>`,
          split: `split_(sums|probabilities)<${type}`,
          columns: `column_softmax<${type}>`,
          'split columns': `column_(sums|probabilities)<${type}>`,
        }[regime.replace(/ x\d+$/, '')];
        const most = needed(new RegExp(`\\b${kernel}`), device);
        expect(most, kernel).toBeGreaterThan(0);
        expect(registers, `${kernel} on ${device}`).toBeGreaterThanOrEqual(most);
      }
    }
  });
});
