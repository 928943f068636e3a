// The emulated device finds planted faults, and nothing in the same code without the fault, in whatever order the
// seed makes blocks, threads and streams run.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../../build/programs/emulator_faults', import.meta.url));
const seeds = [1, 2, 3, 4, 5];

function run(args: string[], seed = 1) {
  const env = { ...process.env, SOFTMAX_EMULATED_SEED: String(seed), SOFTMAX_EMULATED_DEVICE: 'sm_90' };
  const { error, status, stdout } = spawnSync(program, args, { encoding: 'utf8', env, timeout: 30_000 });
  if (error) throw error;
  expect(status).toBe(0);
  return stdout.trim().split('\n');
}

interface Expected {
  /** What the last synchronisation returns. */
  error: string;
  /** How the first finding begins and what it tells. */
  finding: RegExp;
}

// What is read too early is either old or not there yet, as the order falls.
const tooEarly = /^(race|uninitialised): /;
// Memory that a stream allocates is used before that or, without an order, after it.
const beforeAllocation =
  /^(out of bounds: .* its stream has not come yet$|race: .*(written or allocated by work of another stream|work of another stream has written or allocated))/;
const success = 'cudaSuccess';
const illegalAddress = 'cudaErrorIllegalAddress';
const misaligned = 'cudaErrorMisalignedAddress';
const launchFailure = 'cudaErrorLaunchFailure';

const faults: Record<string, Expected> = {
  missing_syncthreads: { error: success, finding: tooEarly },
  missing_syncthreads_before_reuse: { error: success, finding: /^race: .* without a barrier between/ },
  missing_syncwarp: { error: success, finding: tooEarly },
  syncwarp_between_warps: { error: success, finding: tooEarly },
  write_race_between_blocks: { error: success, finding: /^race: .*writes byte 0 .*written by another block/ },
  read_race_between_blocks: { error: success, finding: /^race: / },
  write_past_the_end: {
    error: illegalAddress,
    finding: /^out of bounds: .*writes byte 2008 of .* 2008 bytes/,
  },
  read_before_the_beginning: { error: illegalAddress, finding: /^out of bounds: .*reads byte -4 of/ },
  vector_past_the_end: { error: illegalAddress, finding: /^out of bounds: .*byte 120 of .* 120 bytes/ },
  memcpy_past_the_end: { error: illegalAddress, finding: /^out of bounds: .*byte 120 of .* 120 bytes/ },
  write_past_shared: {
    error: illegalAddress,
    finding: /^out of bounds: .*writes byte 512 of the 512 bytes of shared/,
  },
  local_array_overrun: {
    error: illegalAddress,
    finding: /^out of bounds: .*uses element 4 of an array of type 'float *\[4\]', at faults\.cpp:\d+$/,
  },
  async_copy_read_too_early: {
    error: success,
    finding: /^uninitialised: .*of the 512 bytes of shared memory/,
  },
  async_copy_left: { error: launchFailure, finding: /^not waited for: .* ends before 1 of its asynchronous/ },
  kernel_uses_host_memory: { error: illegalAddress, finding: /^out of bounds: .*reads .* host memory/ },
  memory_of_another_device: { error: illegalAddress, finding: /^out of bounds: .* on another device/ },
  copy_past_the_end: { error: success, finding: /^out of bounds: cudaMemcpy of 2048 bytes/ },
  unknown_launch_bounds: {
    error: success,
    finding: /^misuse: the launch bounds of bounds_by_name, kMostThreads, are not a number/,
  },
  uninitialised_shared: {
    error: success,
    finding: /^uninitialised: .*reads byte 0 of the 512 bytes of shared memory/,
  },
  uninitialised_device: { error: success, finding: /^uninitialised: .*device allocation/ },
  uninitialised_by_copy: { error: success, finding: /^uninitialised: .*device allocation/ },
  misaligned_float4: { error: misaligned, finding: /^misaligned: .* no multiple of 16/ },
  misaligned_double2: { error: misaligned, finding: /^misaligned: .* no multiple of 16/ },
  divergent_shuffle: { error: launchFailure, finding: /^divergence: .*a shuffle/ },
  shuffle_in_two_places: { error: launchFailure, finding: /^divergence: .*a shuffle .*a shuffle/ },
  two_exchanges_of_the_library: { error: launchFailure, finding: /^divergence: .*a shuffle .*a shuffle/ },
  shuffle_after_exit: { error: launchFailure, finding: /^divergence: .*a shuffle/ },
  divergent_vote: { error: launchFailure, finding: /^divergence: .*a vote/ },
  shuffle_of_some_lanes: { error: launchFailure, finding: /^divergence: .*lanes 0000ffff/ },
  divergent_barrier: { error: launchFailure, finding: /^divergence: .*__syncthreads .*never reach/ },
  different_barriers: { error: launchFailure, finding: /^divergence: .*__syncthreads .*__syncthreads/ },
  barrier_in_loops_of_different_length: { error: launchFailure, finding: /^divergence: .*__syncthreads/ },
  shared_memory_of_ended_block: { error: illegalAddress, finding: /^out of bounds: .*which has ended/ },
  shared_memory_of_block_not_started: { error: success, finding: /^race: .*has started/ },
  missing_barrier_of_cluster: { error: success, finding: tooEarly },
  clusters_of_old_code: { error: success, finding: /^misuse: .* in clusters of 4, .* code for 8\.6 / },
  use_after_free: { error: illegalAddress, finding: /^out of bounds: .*a released device allocation/ },
  use_after_free_in_stream: {
    error: illegalAddress,
    finding: /^out of bounds: .*a released device allocation/,
  },
  streams_without_event: { error: success, finding: /^race: .*by work of another stream/ },
  copy_without_event: { error: success, finding: /^race: .*work of another stream/ },
  copy_before_stream_allocation: { error: success, finding: beforeAllocation },
  free_before_stream_allocation: { error: success, finding: beforeAllocation },
  runtime_call_in_host_function: { error: success, finding: /^misuse: cudaGetDevice / },
};

// Faults that show in what the program prints, or in more than one way.
const others = [
  'free_without_event',
  'use_before_stream_allocation',
  'read_before_the_copy',
  'write_before_the_copy',
  'write_again_before_the_copy',
];

describe('planted faults', () => {
  it('are all tested', () => {
    expect(run([]).toSorted()).toEqual([...Object.keys(faults), ...others].toSorted());
  });

  it.each(Object.entries(faults))('%s is found', (name, { error, finding }) => {
    for (const seed of seeds) {
      const lines = run([name, 'fault'], seed).filter((line) => !line.startsWith('copy: '));
      expect(lines[0]).toBe(error);
      expect(lines[1]).toMatch(finding);
    }
  });

  it('free_without_event is found, as a race or as use after the release', () => {
    for (const seed of seeds) {
      const [error, finding] = run(['free_without_event', 'fault'], seed);
      if (error === illegalAddress) expect(finding).toMatch(/^out of bounds: .*a released device allocation/);
      else expect(finding).toMatch(/^race: a copy, fill or release .*work of another stream/);
    }
  });

  it('use_before_stream_allocation is found, as a race or as use of what does not exist', () => {
    for (const seed of seeds) {
      const [error, finding] = run(['use_before_stream_allocation', 'fault'], seed);
      expect(finding).toMatch(beforeAllocation);
      expect(error).toBe(finding?.startsWith('race') ? success : illegalAddress);
    }
  });

  it('a host that does not wait for a copy sees the old bytes', () => {
    for (const seed of seeds) {
      expect(run(['read_before_the_copy', 'fault'], seed)).toEqual(['host sees 0', success]);
      expect(run(['read_before_the_copy', 'twin'], seed)).toEqual(['host sees 1', success]);
    }
  });

  it('a host that does not wait with new bytes has them copied, and is told', () => {
    const finding = expect.stringMatching(
      /^race: the host has changed byte 2 of .* before cudaMemcpyAsync /,
    ) as string;
    for (const seed of seeds) {
      expect(run(['write_before_the_copy', 'fault'], seed)).toEqual(['device has 3', success, finding]);
      expect(run(['write_before_the_copy', 'twin'], seed)).toEqual(['device has 2', success]);
    }
  });

  it('also where a copy to the same memory came before, which may change it', () => {
    const finding = expect.stringMatching(
      /^race: the host has changed byte 2046 of .* has copied it$/,
    ) as string;
    for (const seed of seeds) {
      expect(run(['write_again_before_the_copy', 'fault'], seed)).toEqual(['device has 5', success, finding]);
      expect(run(['write_again_before_the_copy', 'twin'], seed)).toEqual(['device has 1', success]);
    }
  });
});

describe('the same code without the fault', () => {
  const either = ['free_without_event', 'use_before_stream_allocation'];
  it.each([...Object.keys(faults), ...either])('%s has no finding', (name) => {
    for (const seed of seeds) {
      const lines = run([name, 'twin'], seed);
      expect(lines.filter((line) => line !== 'copy: cudaSuccess')).toEqual([success]);
    }
  });
});
