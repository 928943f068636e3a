// The rows that accuracy is measured on. Each distribution makes a row of k logits; storing it in a float array
// rounds it to the type, and the reference reads the rounded logits.
import { powerOfTwo } from './double-double.ts';
import type { Random } from './random.ts';
import type { Format } from './ulp.ts';

export interface Distribution {
  readonly name: string;
  readonly row: (k: number, random: Random, format: Format) => number[];
}

/** Every vector width, the 1024-column chunk and small class counts, with their neighbours. */
export const SMALL_K: readonly number[] = [
  1, 2, 3, 4, 5, 7, 8, 10, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 500, 1000, 1023,
  1024, 1025, 2047, 2048, 2049, 4097,
];
export const LARGE_K: readonly number[] = [10_007, 65_537, 100_003];

export const SIGMAS: readonly number[] = [0.01, 0.1, 1, 3, 10, 30, 100, 300];

export const OFFSETS: readonly number[] = [
  0, 100, -100, 1e4, -1e4, 65535, -65535, 65536, -65536, 7e4, -7e4, 1e6, -1e6, 1e9, -1e9, 1e15, -1e15, 1e30,
  -1e30,
];

function rowOf(k: number, element: (j: number) => number): number[] {
  return Array.from({ length: k }, (_, j) => element(j));
}

function shuffled(row: number[], random: Random): number[] {
  for (let j = row.length - 1; j > 0; j--) {
    const other = random.below(j + 1);
    [row[j], row[other]] = [row[other]!, row[j]!];
  }
  return row;
}

export function gaussian(sigma: number, offset = 0): Distribution {
  return {
    name: `gaussian, sigma ${sigma}${offset === 0 ? '' : `, offset ${offset}`}`,
    row: (k, random) => rowOf(k, () => offset + sigma * random.gaussian()),
  };
}

export function uniform(sigma: number): Distribution {
  const halfWidth = sigma * Math.sqrt(3);
  return {
    name: `uniform, sigma ${sigma}`,
    row: (k, random) => rowOf(k, () => halfWidth * (2 * random.uniform() - 1)),
  };
}

/** -ln of the smallest normal: how far below the maximum a result of softmax is flushed when the sum is 1. */
export function flushDepth(format: Format): number {
  return -format.minExponent * Math.LN2;
}

/** The magnitude of huge logits: two of opposite sign differ by more than the format's largest number. */
export function hugeLogit(format: Format): number {
  return format.digits === 24 ? 3e38 : 1.7e308;
}

/** The ulp of a number in the format; of 0 it is 0. */
export function binadeUlp(x: number, format: Format): number {
  return powerOfTwo(Math.floor(Math.log2(Math.abs(x))) - format.digits + 1);
}

/** Powers of two beyond which a logit's exponent is not worth its exactness, and their neighbours. */
const FAR_LEVELS = [
  -200, -1e4, -65_535, -65_536, -65_537, -131_071, -131_072, -131_073, -1e6, -1e10, -1e20,
] as const;

export const SHAPES_OF_ROWS: readonly Distribution[] = [
  {
    name: 'one logit larger by 1 to 200',
    row: (k, random) => {
      const row = rowOf(k, () => 0.5 * random.gaussian());
      row[random.below(k)] = 1 + 199 * random.uniform();
      return row;
    },
  },
  {
    name: 'two rivals far above the rest',
    row: (k, random, format) => {
      const row = rowOf(k, () => -flushDepth(format) * random.uniform());
      row[random.below(k)] = 5;
      row[random.below(k)] = 5 + 0.1 * random.gaussian();
      return row;
    },
  },
  {
    name: 'all equal',
    row: (k, random) => {
      const value = 50 * random.gaussian();
      return rowOf(k, () => value);
    },
  },
  {
    name: 'three values, each many times',
    row: (k, random) => {
      const values = rowOf(3, () => 5 * random.gaussian());
      return rowOf(k, () => values[random.below(3)]!);
    },
  },
  {
    name: 'integers from -20 to 20',
    row: (k, random) => rowOf(k, () => random.below(41) - 20),
  },
  {
    name: 'subnormal logits',
    row: (k, random, format) => rowOf(k, () => (2 * random.uniform() - 1) * powerOfTwo(format.minExponent)),
  },
  {
    name: 'tiny logits of every exponent',
    row: (k, random, format) =>
      rowOf(k, () => random.gaussian() * powerOfTwo(-random.below(-format.minExponent))),
  },
  {
    name: 'results across the flush limit, sum near 1',
    row: (k, random, format) => {
      const row = rowOf(k, () => -flushDepth(format) + 2 * random.uniform() - 1);
      row[random.below(k)] = 0;
      return row;
    },
  },
  {
    name: 'results across the flush limit, sum near k / 2',
    row: (k, random, format) => {
      const depth = flushDepth(format) - Math.log(Math.max(k / 2, 1));
      return shuffled(
        rowOf(k, (j) => (j < k / 2 ? 0.01 * random.gaussian() : -depth + random.gaussian())),
        random,
      );
    },
  },
  {
    name: 'evenly from the maximum to below the flush limit',
    row: (k, random, format) => {
      const start = 10 * random.gaussian();
      return shuffled(
        rowOf(k, (j) => start - ((flushDepth(format) + 5) * j) / k),
        random,
      );
    },
  },
  {
    name: 'ascending, sigma 30',
    row: (k, random) => rowOf(k, () => 30 * random.gaussian()).toSorted((a, b) => a - b),
  },
  {
    name: 'descending, sigma 30',
    row: (k, random) => rowOf(k, () => 30 * random.gaussian()).toSorted((a, b) => b - a),
  },
  {
    name: 'each 1024 columns of another magnitude',
    row: (k, random) => {
      let level = 0;
      return rowOf(k, (j) => {
        if (j % 1024 === 0) level = 40 * random.gaussian();
        return level + random.gaussian();
      });
    },
  },
  {
    name: 'each 1024 columns of another magnitude, most far below',
    row: (k, random, format) => {
      const levels = [0, 0, 1, -20, -80, -700, ...FAR_LEVELS, -hugeLogit(format), -Infinity];
      let level = 0;
      const row = rowOf(k, (j) => {
        if (j % 1024 === 0) level = levels[random.below(levels.length)]!;
        return level + random.gaussian();
      });
      row[random.below(k)] = 1;
      return row;
    },
  },
  {
    name: 'one logit, the rest 2^-6 to 2^-14 of it each',
    row: (k, random) => {
      const depth = -Math.LN2 * (6 + 8 * random.uniform());
      const row = rowOf(k, () => depth + 0.1 * random.gaussian());
      row[random.below(k)] = 0;
      return row;
    },
  },
  {
    name: '-Infinity but for one column in twenty',
    row: (k, random) => {
      const row = rowOf(k, () => (random.below(20) === 0 ? 3 * random.gaussian() : -Infinity));
      row[random.below(k)] = 3 * random.gaussian();
      return row;
    },
  },
  {
    name: 'ordinary logits beside far negative ones',
    row: (k, random, format) => {
      const far = [...FAR_LEVELS, -hugeLogit(format)];
      const row = rowOf(k, () =>
        random.below(3) === 0 ? far[random.below(far.length)]! : 3 * random.gaussian(),
      );
      row[random.below(k)] = 3 * random.gaussian();
      return row;
    },
  },
  {
    name: 'huge, of both signs',
    row: (k, random, format) => {
      const huge = hugeLogit(format);
      return rowOf(k, () => [huge, -huge, huge * random.uniform()][random.below(3)]!);
    },
  },
  {
    name: 'all at the lowest finite number, or beside it',
    row: (k, random, format) => {
      const huge = hugeLogit(format);
      return rowOf(k, () => (random.below(2) === 0 ? -huge : -huge * (1 - random.uniform() / 4)));
    },
  },
  ...[16, -16, 10, -10, 20, -20, 24, -24, 31, -31].map((exponent): Distribution => {
    const limit = Math.sign(exponent) * powerOfTwo(Math.abs(exponent));
    return {
      name: `maximum within 3 ulp of ${Math.sign(exponent) < 0 ? '-' : ''}2^${Math.abs(exponent)}`,
      row: (k, random, format) => {
        const row = rowOf(k, () => limit - Math.abs(10 * random.gaussian()) - 1);
        row[random.below(k)] = limit + (random.below(7) - 3) * binadeUlp(limit, format);
        return row;
      },
    };
  }),
  {
    name: 'within 2 ulp of (n + 1/2) ln 2, where the reduction changes n',
    row: (k, random, format) =>
      rowOf(k, () => {
        const x = (random.below(128) - 64.5) * Math.LN2;
        return x + (random.below(5) - 2) * binadeUlp(x, format);
      }),
  },
  {
    name: 'within 2 ulp of n ln 2',
    row: (k, random, format) =>
      rowOf(k, () => {
        const x = (random.below(128) - 64) * Math.LN2;
        return x === 0 ? 0 : x + (random.below(5) - 2) * binadeUlp(x, format);
      }),
  },
];
