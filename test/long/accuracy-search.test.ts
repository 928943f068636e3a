// A search for the rows with the largest error. Hill climbing from logits near (n + 1/2) ln 2, where the series of
// the exponential is longest: the worst rows of a population are changed by a few ulp, by ln 2, or in one logit
// entirely, and the worst of all are kept. Random rows reach about three quarters of the errors that it finds.
import { afterAll, describe, expect, it } from 'vitest';
import { softmax, softmaxJacobian } from '../../lib/index.ts';
import { byName } from '../support/by-name.ts';
import { binadeUlp } from '../support/distributions.ts';
import type { Worst } from '../support/measure.ts';
import { describeWorst, measureJacobian, measureSoftmax, worse, worstOf } from '../support/measure.ts';
import type { Random } from '../support/random.ts';
import { randomFrom } from '../support/random.ts';
import type { FloatArray, Format } from '../support/ulp.ts';
import { FORMATS } from '../support/ulp.ts';

// The contract is 2; what the README says of this search is 1.
const SOFTMAX_BOUND = 1;
const JACOBIAN_CONTRACT = 4;

const POPULATION = 200;
const KEPT = 40;
const GENERATIONS = 40;

const found: { operation: string; k: number; ulp: string; row: string }[] = [];
afterAll(() => {
  for (const { operation, k, ulp, row } of found)
    console.log(`${operation}, k = ${k}: ${ulp} ulp at [${row}]`);
});

function nearBoundary(random: Random): number {
  return (random.below(60) - 29.5) * Math.LN2 * (1 + (random.uniform() - 0.5) * 1e-5);
}

function changed(row: FloatArray, random: Random, format: Format): FloatArray {
  return row.map((logit) => {
    const choice = random.uniform();
    if (choice < 0.5) {
      const reach = 2 ** (random.uniform() * (format.digits / 2));
      return logit + Math.round((random.uniform() - 0.5) * reach) * binadeUlp(logit, format);
    }
    if (choice < 0.6) return nearBoundary(random);
    if (choice < 0.7) return logit + (random.below(2) === 0 ? Math.LN2 : -Math.LN2);
    return logit;
  });
}

function climb(measure: (row: FloatArray) => Worst, k: number, random: Random, format: Format): Worst {
  let population = Array.from({ length: POPULATION }, () =>
    measure(format.array(k).map(() => nearBoundary(random))),
  );
  for (let generation = 0; generation < GENERATIONS; generation++) {
    population = population.toSorted((a, b) => b.ulp - a.ulp).slice(0, KEPT);
    for (let i = KEPT; i < POPULATION; i++) {
      // The square prefers the worst.
      const parent = population[Math.floor(random.uniform() ** 2 * KEPT)]!;
      population.push(measure(changed(parent.row, random, format)));
    }
  }
  return worstOf(population);
}

function search(measure: (row: FloatArray) => Worst, k: number, climbs: number, format: Format): Worst {
  const random = randomFrom(2000 + k);
  let worst = climb(measure, k, random, format);
  for (let i = 1; i < climbs; i++) worst = worse(worst, climb(measure, k, random, format));
  return worst;
}

describe.each(byName(FORMATS))('the hardest rows found in %s', (_format, format) => {
  function report(worst: Worst, operation: string): void {
    found.push({
      operation: `${operation} ${format.name}`,
      k: worst.k,
      ulp: worst.ulp.toFixed(4),
      row: Array.from(worst.row, String).join(', '),
    });
  }

  it.each([2, 3, 5, 8, 12])('keep softmax within 1 ulp, k = %d', (k) => {
    const worst = search((row) => measureSoftmax(softmax, row, k, format), k, 40, format);
    report(worst, 'softmax');
    expect(worst.ulp, describeWorst(worst)).toBeLessThanOrEqual(SOFTMAX_BOUND);
  });

  it.each([2, 3, 5])('keep Jacobian entries within 4 ulp, k = %d', (k) => {
    const worst = search((row) => measureJacobian(softmaxJacobian, row, k, format), k, 20, format);
    report(worst, 'Jacobian');
    expect(worst.ulp, describeWorst(worst)).toBeLessThanOrEqual(JACOBIAN_CONTRACT);
  });
});
