// The examples in the documentation that need a GPU.
import { expect, it } from 'vitest';
import { examples, expectExampleHolds } from '../support/examples.ts';
import { noGpu } from './support.ts';

const own = examples.filter(({ needsGpu }) => needsGpu);

it('there are some', () => {
  expect(own.map(({ name }) => name).toSorted()).toEqual(['CudaError', 'DeviceTensor', 'cudaDevice']);
});

it.skipIf(noGpu).each(own)('of $name says what it gives', (example) => expectExampleHolds(example));
