// The emulated runtime keeps CUDA's rules, as each of the GPUs that it plays.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const program = fileURLToPath(new URL('../../build/programs/emulator_rules', import.meta.url));

it.each(['sm_75', 'sm_80', 'sm_86', 'sm_89', 'sm_90', 'sm_100', 'sm_120'])('%s', (device) => {
  const env = { ...process.env, SOFTMAX_EMULATED_DEVICE: device, SOFTMAX_EMULATED_DEVICES: '1' };
  const { error, status, stdout, stderr } = spawnSync(program, [], {
    encoding: 'utf8',
    env,
    timeout: 30_000,
  });
  if (error) throw error;
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^\S.*: 0 failed\n$/);
  expect(status).toBe(0);
});
