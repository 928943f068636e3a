// The accuracy tests at length: every distribution at every length, rows of a million logits, and larger Jacobians.
import { afterAll, describe, expect, it } from 'vitest';
import { softmax, softmaxJacobian } from '../../lib/index.ts';
import { byName } from '../support/by-name.ts';
import type { Distribution } from '../support/distributions.ts';
import { gaussian, OFFSETS, SHAPES_OF_ROWS, SIGMAS, SMALL_K, uniform } from '../support/distributions.ts';
import type { Worst } from '../support/measure.ts';
import {
  describeWorst,
  makeRows,
  measureAgainstDecimal,
  measureJacobian,
  measureSoftmax,
  worstOf,
} from '../support/measure.ts';
import { randomFrom } from '../support/random.ts';
import type { Format } from '../support/ulp.ts';
import { FORMATS } from '../support/ulp.ts';

const SOFTMAX_BOUND = 1;
const JACOBIAN_BOUND = 4;

const EVERY_DISTRIBUTION: readonly Distribution[] = [
  ...SIGMAS.flatMap((sigma) => [gaussian(sigma), uniform(sigma)]),
  ...OFFSETS.filter((offset) => offset !== 0).flatMap((offset) =>
    [1, 10].map((sigma) => gaussian(sigma, offset)),
  ),
  ...SHAPES_OF_ROWS,
];

const table: Record<string, Record<string, string>> = {};
afterAll(() => console.table(table));

function expectWithin(worst: Worst, bound: number, distribution: string, column: string): void {
  (table[distribution] ??= {})[column] = `${worst.ulp.toFixed(3)} (k = ${worst.k})`;
  expect(worst.ulp, describeWorst(worst)).toBeLessThanOrEqual(bound);
}

function softmaxWorst(format: Format, distribution: Distribution, ks: readonly number[]): Worst {
  const random = randomFrom(1000);
  return worstOf(
    ks.map((k) => {
      const rows = Math.max(1, Math.floor(4096 / k));
      return measureSoftmax(softmax, makeRows(distribution, rows, k, random, format), k, format);
    }),
  );
}

describe.each(byName(FORMATS))('softmax in %s is within 1 ulp', (_format, format) => {
  const column = `softmax ${format.name}`;

  it.each(byName(EVERY_DISTRIBUTION))('%s', (_title, distribution) => {
    const worst = softmaxWorst(format, distribution, [...SMALL_K, 10_007, 65_537]);
    expectWithin(worst, SOFTMAX_BOUND, distribution.name, column);
  });

  const million = [
    gaussian(0.01),
    gaussian(1),
    gaussian(30),
    gaussian(300),
    uniform(3),
    gaussian(1, 1e4),
    ...SHAPES_OF_ROWS.filter(({ name }) => /ascending|1024|three values|all equal|far negative/.test(name)),
  ];
  it.each(byName(million))('%s, k = 1,000,000', (_title, distribution) => {
    const worst = softmaxWorst(format, distribution, [1_000_000]);
    expectWithin(worst, SOFTMAX_BOUND, `${distribution.name}, k = 1,000,000`, column);
  });

  it.each(SIGMAS)('gaussian, sigma %d, few distinct logits, against 45 digits', (sigma) => {
    const random = randomFrom(1001);
    const worst = worstOf(
      [300, 3000, 30_000, 300_000, 1_000_000].flatMap((k) =>
        [0, 1e4, -7e4].map((offset) => {
          const values = makeRows(gaussian(sigma, offset), 1, 300, random, format);
          return measureAgainstDecimal(softmax, values, k, format);
        }),
      ),
    );
    expectWithin(worst, SOFTMAX_BOUND, `gaussian, sigma ${sigma}, 300 distinct, 45 digits`, column);
  });
});

describe.each(byName(FORMATS))('Jacobian entries in %s are within 4 ulp', (_format, format) => {
  it.each(byName(EVERY_DISTRIBUTION))('%s', (_title, distribution) => {
    const random = randomFrom(1002);
    const worst = worstOf(
      [1, 2, 3, 4, 5, 7, 8, 10, 16, 17, 33, 64, 100, 129, 257].map((k) => {
        const rows = Math.max(1, Math.floor(5000 / (k * k)));
        return measureJacobian(softmaxJacobian, makeRows(distribution, rows, k, random, format), k, format);
      }),
    );
    expectWithin(worst, JACOBIAN_BOUND, distribution.name, `Jacobian ${format.name}`);
  });

  it.each(byName([gaussian(1), gaussian(30), ...SHAPES_OF_ROWS.slice(0, 2)]))(
    '%s, k = 1025',
    (_title, distribution) => {
      const worst = measureJacobian(
        softmaxJacobian,
        makeRows(distribution, 1, 1025, randomFrom(1003), format),
        1025,
        format,
      );
      expectWithin(worst, JACOBIAN_BOUND, `${distribution.name}, k = 1025`, `Jacobian ${format.name}`);
    },
  );
});
