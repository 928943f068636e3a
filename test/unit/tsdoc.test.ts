// The examples in the documentation of the public functions and classes. Those that need a GPU are run by test/cuda.
import { expect, it } from 'vitest';
import { entries, examples, expectExampleHolds, type Entry } from '../support/examples.ts';

it.each(Object.keys(entries) as Entry[])('every public function and class of %s has one', (entry) => {
  const named = Object.entries(entries[entry]).filter(([, value]) => typeof value === 'function');
  const documented = examples.filter((example) => example.entry === entry).map(({ name }) => name);
  expect(documented.toSorted()).toEqual(named.map(([name]) => name).toSorted());
});

it.each(examples.filter(({ needsGpu }) => !needsGpu))('of $name in $entry says what it gives', (example) =>
  expectExampleHolds(example),
);
