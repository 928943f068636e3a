// The examples in the documentation of the public functions and classes. Those that need a GPU are run by test/cuda.
import { expect, it } from 'vitest';
import * as library from '../../lib/index.ts';
import { examples, expectExampleHolds } from '../support/examples.ts';

it('every public function and class has one', () => {
  const named = Object.entries(library).filter(([, value]) => typeof value === 'function');
  expect(examples.map(({ name }) => name).toSorted()).toEqual(named.map(([name]) => name).toSorted());
});

it.each(examples.filter(({ needsGpu }) => !needsGpu))('of $name says what it gives', (example) => {
  expectExampleHolds(example);
});
