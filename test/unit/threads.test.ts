// The default number of threads: OMP_NUM_THREADS, the processors available, and the quotas of control groups.
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import { native } from '../../lib/binding.ts';
import { softmax } from '../../lib/index.ts';
import { defaultThreads, fromEnvironment, processorQuota, readThreads } from '../../lib/threads.ts';

describe('OMP_NUM_THREADS', () => {
  it.each<[string | undefined, number | undefined]>([
    ['3', 3],
    [' 12 ', 12],
    ['+2', 2],
    ['4,2', 4],
    ['4 , 2', 4],
    [undefined, undefined],
    ['', undefined],
    ['0', undefined],
    ['-1', undefined],
    ['1.5', undefined],
    ['2x', undefined],
    ['all', undefined],
    ['Infinity', undefined],
  ])('%j gives %j', (value, threads) => {
    expect(fromEnvironment(value === undefined ? {} : { OMP_NUM_THREADS: value })).toBe(threads);
  });
});

describe('the processor quota', () => {
  const quotaOf = (files: Record<string, string>): number => processorQuota((file) => files[file]);
  const v2 = { '/proc/self/cgroup': '0::/\n' };

  it('is none without control groups or without a limit', () => {
    expect(quotaOf({})).toBe(Infinity);
    expect(quotaOf(v2)).toBe(Infinity);
    expect(quotaOf({ ...v2, '/sys/fs/cgroup/cpu.max': 'max 100000\n' })).toBe(Infinity);
    expect(quotaOf({ '/proc/self/cgroup': 'nonsense\n\n::\n' })).toBe(Infinity);
    expect(quotaOf({ ...v2, '/sys/fs/cgroup/cpu.max': '' })).toBe(Infinity);
  });

  it('of version 2 is read from cpu.max', () => {
    expect(quotaOf({ ...v2, '/sys/fs/cgroup/cpu.max': '150000 100000\n' })).toBe(1.5);
    expect(quotaOf({ ...v2, '/sys/fs/cgroup/cpu.max': '20000 40000\n' })).toBe(0.5);
  });

  it('of version 2 is the least of the group and of those that it is in', () => {
    const files = {
      '/proc/self/cgroup': '0::/kube/pod/container\n',
      '/sys/fs/cgroup/kube/pod/container/cpu.max': '400000 100000\n',
      '/sys/fs/cgroup/kube/pod/cpu.max': '200000 100000\n',
      '/sys/fs/cgroup/kube/cpu.max': 'max 100000\n',
    };
    expect(quotaOf(files)).toBe(2);
    expect(quotaOf({ ...files, '/sys/fs/cgroup/kube/pod/container/cpu.max': '100000 100000' })).toBe(1);
  });

  it("is the root's where the group's path is one outside the container", () => {
    expect(
      quotaOf({ '/proc/self/cgroup': '0::/docker/0123\n', '/sys/fs/cgroup/cpu.max': '300000 100000' }),
    ).toBe(3);
    expect(
      quotaOf({ '/proc/self/cgroup': '0::/../other\n', '/sys/fs/cgroup/cpu.max': '300000 100000' }),
    ).toBe(3);
  });

  it('of version 1 is read from the files of its controller', () => {
    const files = {
      '/proc/self/cgroup': '9:name=systemd:/a\n4:memory:/a\n3:cpuset:/a\n2:cpu,cpuacct:/docker/0123\n',
      '/sys/fs/cgroup/cpu/docker/0123/cpu.cfs_quota_us': '250000\n',
      '/sys/fs/cgroup/cpu/docker/0123/cpu.cfs_period_us': '100000\n',
    };
    expect(quotaOf(files)).toBe(2.5);
    expect(quotaOf({ ...files, '/sys/fs/cgroup/cpu/docker/0123/cpu.cfs_quota_us': '-1\n' })).toBe(Infinity);
    const root = {
      '/proc/self/cgroup': '1:cpu:/docker/0123\n0::/\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '50000\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
    };
    expect(quotaOf(root)).toBe(0.5);
  });
});

describe('threads', () => {
  it('are at least one and no more than the processors, unless the environment says so', () => {
    const most = fromEnvironment(process.env) ?? availableParallelism();
    expect(defaultThreads()).toBeGreaterThanOrEqual(1);
    expect(defaultThreads()).toBeLessThanOrEqual(most);
    expect(Number.isInteger(defaultThreads())).toBe(true);
    expect(readThreads(undefined)).toBe(defaultThreads());
  });

  it('that a call asks for are taken, up to what OpenMP starts safely', () => {
    expect(readThreads(1)).toBe(1);
    expect(readThreads(1000)).toBe(1000);
    expect(readThreads(1e9)).toBe(1024);
  });
});

describe.skipIf(process.platform !== 'linux')('the threads of a call', () => {
  const count = (): number => readdirSync('/proc/self/task').length;

  it('are one for a small array, and as many as the call allows for a large one', () => {
    const before = count();
    softmax(new Float32Array(1000), { shape: [10, 100], threads: 4 });
    expect(count()).toBe(before);
    softmax(new Float32Array(2e6), { shape: [20_000, 100], threads: 4 });
    expect(count()).toBe(native().cpuInfo().threads ? before + 3 : before);
  });
});
