// The CUDA kernels below the addon, on the emulated devices that test/native leaves out.
import { expect, it } from 'vitest';
import { expectBitsOnEmulated } from '../native/cuda-bits.ts';

it('the kernels give the bits of the CPU in every regime of sm_120', async () => {
  const { regimes } = await expectBitsOnEmulated('sm_120');
  const expected = ['block', 'cluster', 'columns', 'shared', 'split', 'split columns', 'tile', 'warp'];
  expect([...regimes].toSorted()).toEqual(expected);
}, 240_000);
