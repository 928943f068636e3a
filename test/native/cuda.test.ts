// The CUDA kernels themselves, below the addon: bits on the emulated device and on a GPU where there is one, and the
// launch policy as a function.
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const program = (name: string) => new URL(`../../build/programs/${name}`, import.meta.url).pathname;
const run = promisify(execFile);

describe('the kernels on an emulated device', () => {
  const launched = new Set<string>();
  const regimes = new Map<string, Set<string>>();

  it.concurrent.each(['sm_75', 'sm_80', 'sm_90', 'sm_120', 'sm_80 with 2 multiprocessors'])(
    'give the bits of the CPU in every regime of %s, with no access that is not theirs to make',
    async (name) => {
      // With 2 multiprocessors blocks take more than one round of what they loop over.
      const [device = '', count = '0'] = name.split(' with ');
      const { stdout, stderr } = await run(program('cuda_bits_emulated'), ['quick'], {
        env: {
          ...process.env,
          SOFTMAX_EMULATED_DEVICE: device,
          SOFTMAX_EMULATED_MULTIPROCESSORS: String(Number.parseInt(count, 10)),
        },
      });
      expect(stderr).toBe('');
      const [summary = '', ...lines] = stdout.trim().split('\n');
      console.log(summary);
      expect(summary).toMatch(/: [1-9]\d{2,} comparisons, 0 failed$/);
      const met = lines.flatMap((line) => /^ {2}regime (.*):/.exec(line)?.[1] ?? []);
      regimes.set(name, new Set(met.map((regime) => regime.replace(/ x\d+$/, ''))));
      for (const line of lines) {
        const kernel = /^ {2}kernel (.*): \d+ launches$/.exec(line)?.[1];
        if (kernel !== undefined) launched.add(kernel.replace('softmax_native::cuda::', ''));
      }
    },
    240_000,
  );

  it('were all launched, in every instance that is compiled', () => {
    expect([...launched].toSorted()).toEqual(instances.toSorted());
    const expected = {
      sm_75: ['block', 'columns', 'shared', 'split', 'stream', 'tile', 'warp'],
      sm_80: ['block', 'columns', 'shared', 'split', 'tile', 'warp'],
      sm_90: ['block', 'cluster', 'columns', 'shared', 'split', 'tile', 'warp'],
      sm_120: ['block', 'cluster', 'columns', 'shared', 'split', 'tile', 'warp'],
    };
    for (const [device, names] of Object.entries(expected)) {
      expect([...(regimes.get(device) ?? [])].toSorted(), device).toEqual(names);
    }
    console.log(`${launched.size} kernels were launched, in every regime`);
  });
});

// Every instance of a kernel; test/long/kernel-resources.test.ts finds the same ones in what nvcc compiles.
const types = ['float', 'double'];
const instances = [
  ...[8, 16, 32].flatMap((elements) => types.map((type) => `tile_softmax<${type}, ${elements}>`)),
  ...[1, 4].flatMap((vector) => [16, 32].map((elements) => `warp_softmax<${vector}, ${elements}>`)),
  ...[1, 4].map((vector) => `block_softmax<${vector}>`),
  ...['float, 1', 'float, 4', 'double, 1'].flatMap((instance) => [
    `stream_softmax<${instance}, true>`,
    `stream_softmax<${instance}, false>`,
    `split_sums<${instance}>`,
    `split_probabilities<${instance}>`,
  ]),
  ...['float, 1', 'float, 4', 'double, 1', 'double, 2'].map((instance) => `long_row_max<${instance}>`),
  ...types.flatMap((type) =>
    [
      'column_sums',
      'column_probabilities',
      'short_row_max',
      'column_max',
      'merge_row_max',
      'tile_jacobian',
      'jacobian_diagonals',
      'jacobian_stream',
    ].map((kernel) => `${kernel}<${type}>`),
  ),
];

describe('the kernels on a GPU', () => {
  it('give the bits of the CPU in every regime', ({ skip }) => {
    skip(!existsSync(program('cuda_bits')), 'built without nvcc');
    const { status, stdout } = spawnSync(program('cuda_bits'), ['quick', 'lesser'], { encoding: 'utf8' });
    skip(/cudaError(InsufficientDriver|NoDevice)/.test(stdout), `no CUDA device: ${stdout.trim()}`);
    expect(stdout).toMatch(/comparisons, 0 failed/);
    expect(status).toBe(0);
  });
});

interface Table {
  device: string;
  elementSize: number;
  rows: number;
  ranges: {
    first: number;
    last: number;
    regime: string;
    passes: number;
    bytesInFlight: number;
    step: number;
  }[];
}

describe('the launch policy, for rows of 1 to 300,000 elements', () => {
  const tables = JSON.parse(spawnSync(program('policy_table'), { encoding: 'utf8' }).stdout) as Table[];
  const many = tables.filter(({ rows }) => rows === 0);

  it('covers every length on every GPU', () => {
    expect(new Set(tables.map(({ device }) => device)).size).toBe(7);
    for (const { ranges } of tables) {
      expect(ranges[0]?.first).toBe(1);
      expect(ranges.at(-1)?.last).toBe(300_000);
      for (const [i, range] of ranges.slice(1).entries())
        expect(range.first).toBe((ranges[i]?.last ?? 0) + 1);
    }
  });

  it.each(many)(
    'reads and writes once where the chip can hold a row: $device, $elementSize bytes',
    (table) => {
      const { device, ranges } = table;
      const text = ranges.map(({ first, last, regime, passes, bytesInFlight, step }) =>
        [first, last, regime, passes, `${(bytesInFlight / 1024).toFixed(0)} KB`, step].join('  '),
      );
      console.log(
        `${device}, ${table.elementSize} bytes: regime, passes, loads in flight, largest step`,
        text,
      );
      const limit = { sm_90: 300_000, sm_100: 300_000 }[device];
      for (const range of ranges) {
        const held = range.regime.replace(/ x\d+$/, '') !== 'stream';
        if (limit !== undefined) expect(held).toBe(true);
        expect(range.passes).toBeLessThanOrEqual(held ? 2 : 3);
        // Where a row stops fitting, the third pass is the price; nowhere else does one more column cost anything.
        expect(range.step).toBeLessThanOrEqual(held ? 1.01 : 1.51);
      }
    },
  );

  // What CUB's tuning asks for: 16 KB a multiprocessor on A100, 32 KB on H100. Rows of float32 in shared memory have
  // 24 KB where registers leave one block of 13 to 16 warps.
  it.each([
    ['sm_80', 16, 16],
    ['sm_90', 32, 24],
  ])(
    'keeps loads in flight on %s: %i KB a multiprocessor, %i where rows are in shared memory',
    (device, most, shared) => {
      for (const { elementSize, ranges } of many.filter((table) => table.device === device)) {
        for (const { first, regime, bytesInFlight } of ranges) {
          const needed = (regime.startsWith('shared') ? shared : most) * 1024;
          expect(bytesInFlight, `${elementSize} bytes, k = ${first}`).toBeGreaterThanOrEqual(needed);
        }
      }
    },
  );
});
