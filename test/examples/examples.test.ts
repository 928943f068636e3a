// The programs under examples/, each run as its reader runs it: in a process of its own, with the built package.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { FLOAT64, normalise, ulpError } from '../support/ulp.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

function runExample(name: string): string {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [path.join('examples', name)], {
    cwd: root,
    encoding: 'utf8',
  });
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
  return stdout;
}

/** The groups of every match of a pattern. */
function matches(text: string, pattern: RegExp): string[][] {
  return [...text.matchAll(pattern)].map(([, ...groups]) => groups);
}

it('has a test for every example', () => {
  expect(readdirSync(path.join(root, 'examples')).toSorted()).toEqual([
    'article.mjs',
    'demo.mjs',
    'digits.mjs', // the data of demo.mjs
  ]);
});

describe('examples/article.mjs', () => {
  const classes = ['cat', 'dog', 'tiger', 'none'];
  const probabilities = [0.19101770813831334, 0.627890718698843, 0.11938650086860875, 0.061705072294234845];
  let output: string;
  beforeAll(() => {
    output = runExample('article.mjs');
  });

  it('gets the logits from the layer', () => {
    expect(output).toContain('Z = W A + b = [1.25, 2.44, 0.78, 0.12]\n');
  });

  it("prints the tutorial's probabilities within 2 ulp, and dog", () => {
    const printed = matches(output, /^Probability \((\w+)\) = (\S+)/gm);
    expect(printed.map(([name]) => name)).toEqual(classes);
    const errors = probabilities.map((p, i) =>
      ulpError(Number(printed[i]?.[1]), normalise(p, 0, 0), FLOAT64),
    );
    expect(Math.max(...errors)).toBeLessThanOrEqual(2);
    expect(output).toContain('The image shows: dog\n');
  });

  it('prints a batch of rows that sum to 1', () => {
    const samples = matches(output, /^ {2}sample \d: +\S+ +\S+ +\S+ +\S+ +sum +(\S+)$/gm);
    expect(samples).toEqual([['1.000000'], ['1.000000'], ['1.000000']]);
  });

  it('prints a Jacobian that agrees with the einsum definition', () => {
    const printed = matches(output, /^ {2}(cat|dog|tiger|none) +(\S+) +(\S+) +(\S+) +(\S+)$/gm);
    const expected = probabilities.map((pj, j) => [
      classes[j],
      ...probabilities.map((pk, k) => (pj * ((j === k ? 1 : 0) - pk)).toFixed(6)),
    ]);
    expect(printed).toEqual(expected);
    const [difference] = matches(output, /^Largest difference from the einsum .*: (\S+)$/gm).flat();
    expect(Number(difference)).toBeLessThanOrEqual(2 ** -51);
  });
});

describe('examples/demo.mjs', () => {
  let output: string;
  beforeAll(() => {
    output = runExample('demo.mjs');
  });

  it('reports every epoch, with a falling loss', () => {
    const epochs = matches(output, /^epoch +(\d+)\/20 {2}loss (\S+) {2}accuracy (\S+) %$/gm);
    expect(epochs.map(([epoch]) => Number(epoch))).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    const [first = NaN, ...later] = epochs.map(([, loss]) => Number(loss));
    // Ten equally likely classes cost ln 10 before anything is learned.
    expect(first).toBeLessThan(Math.log(10));
    expect(later.at(-1)).toBeLessThan(first / 2);
  });

  it('reads at least 90 % of the unseen digits', () => {
    const [right, count, accuracy] = matches(
      output,
      /^Unseen digits: (\d+) of (\d+) read correctly, accuracy (\S+) %$/gm,
    ).flat();
    expect(count).toBe('2000');
    expect(accuracy).toBe(((Number(right) / 2000) * 100).toFixed(2));
    expect(Number(accuracy)).toBeGreaterThanOrEqual(90);
  });

  it('draws right and wrong ones with a bar for every class', () => {
    const verdicts = matches(output, /^Unseen image \d+, read as \d: (right|wrong)/gm).flat();
    expect(verdicts).toEqual(['right', 'right', 'wrong', 'wrong', 'wrong']);

    const rows = matches(output, /^[ ▀▄█]{28} {3}(\d) +(\S+) %(?: (█+))?$/gm);
    expect(rows.map(([c]) => Number(c))).toEqual(verdicts.flatMap(() => [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
    verdicts.forEach((_, digit) => {
      const shares = rows.slice(digit * 10, digit * 10 + 10).map(([, share]) => Number(share));
      expect(shares.reduce((total, share) => total + share)).toBeCloseTo(100, 0);
    });
    for (const [, share, bar = ''] of rows) {
      expect(Math.abs(bar.length - (Number(share) / 100) * 24)).toBeLessThanOrEqual(0.51);
    }
  });

  it('foretells with the Jacobian what a higher logit does', () => {
    const changes = matches(
      output,
      /^ {2}image +\d+, logit of (\d): {2}(\d) gains (\S+) points \((\S+)\), {2}\d loses most: (\S+) points \((\S+)\)$/gm,
    );
    expect(changes).toHaveLength(5);
    for (const [raised, gaining, ...amounts] of changes) {
      expect(gaining).toBe(raised);
      const [gain = NaN, actualGain = NaN, loss = NaN, actualLoss = NaN] = amounts.map(Number);
      expect(loss).toBeLessThanOrEqual(gain);
      expect(Math.abs(gain - actualGain)).toBeLessThanOrEqual(0.05);
      expect(Math.abs(loss - actualLoss)).toBeLessThanOrEqual(0.05);
    }
    expect(Math.max(...changes.map(([, , gain]) => Number(gain)))).toBeGreaterThan(1);
    expect(output).toMatch(/^Jacobian check: .*: ok$/m);
  });

  it('names the device and the time', () => {
    expect(output).toMatch(/^Device: \S/m);
    expect(output).toMatch(/^Time: softmax \S+ ms in 1602 calls .* in all \S+ s$/m);
  });
});
