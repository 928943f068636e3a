// AbortSignal and onProgress, and jacobianRows, which uses both.
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import * as sync from '../../lib/index.ts';
import * as promises from '../../lib/promises.ts';
import { expectSameBits } from '../support/bits.ts';
import { expectRefusal, outOfRange, unknownOption, wrongType } from '../unit/support.ts';
import { k, logits, rows, shared } from './support.ts';

const large = shared(logits('float32', 2 ** 22));

interface Aborted extends Error {
  code: string;
}
const aborted = async (promise: Promise<unknown>): Promise<Aborted> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason as Aborted,
  );
  expect(error).toMatchObject({
    name: 'AbortError',
    code: 'ABORT_ERR',
    message: 'The operation was aborted',
  });
  return error!;
};

describe('signal', () => {
  it('that was aborted before rejects, and nothing is read or written', async () => {
    const out = new Float32Array(rows * k);
    const reason = new Error('why');
    const signal = AbortSignal.abort(reason);
    const x = logits();
    expect((await aborted(promises.softmax(x, { out, signal, transfer: true }))).cause).toBe(reason);
    await aborted(promises.rowMax([0, 1], { signal }));
    await aborted(promises.softmaxJacobian(new Float32Array(2), { signal }));
    expect(x).toHaveLength(rows * k);
    expect(out.every((value) => value === 0)).toBe(true);
  });

  it('stops work under way, and what waits behind it, and the thread goes on', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    // Some seconds of work.
    const calls = Array.from({ length: 20 }, () => promises.softmax(large, { signal }));
    const jacobian = promises.softmaxJacobian(logits('float32', 8000), { signal });
    const other = promises.softmax(large);
    // At once: however fast the machine is, most have not begun.
    let reasons = 0;
    controller.abort(new Error('enough'));
    for (const result of await Promise.allSettled([...calls, jacobian])) {
      if (result.status === 'fulfilled') continue;
      reasons++;
      expect(result.reason).toMatchObject({ code: 'ABORT_ERR', cause: { message: 'enough' } });
    }
    expect(reasons).toBeGreaterThan(10);
    expectSameBits(await other, sync.softmax(large), 'the call after those that were stopped');
  });

  it.each([
    ['softmax in rows', () => ({ shape: [2 ** 11, 2 ** 11] })],
    ['softmax in one row', () => ({})],
    ['softmax along another axis', () => ({ shape: [2 ** 11, 2 ** 11], axis: 0 })],
    ['softmax of two columns', () => ({ shape: [2 ** 21, 2], axis: 0 })],
  ])('%s leaves no thread at work in memory that is shared', async (_name, options) => {
    const out = shared(new Float32Array(large.length));
    const controller = new AbortController();
    const call = promises.softmax(large, {
      ...options(),
      out,
      signal: controller.signal,
      onProgress: () => {},
    });
    await sleep(1);
    controller.abort();
    await call.catch((error: unknown) => expect(error).toMatchObject({ code: 'ABORT_ERR' }));
    out.fill(7);
    await sleep(20);
    expect(out.every((value) => value === 7)).toBe(true);
  });

  it('after the end changes nothing, and leaves no listeners', async () => {
    const controller = new AbortController();
    let listeners = 0;
    const signal = {
      aborted: false,
      addEventListener: (...args: Parameters<AbortSignal['addEventListener']>) => {
        listeners++;
        controller.signal.addEventListener(...args);
      },
      removeEventListener: (...args: Parameters<AbortSignal['removeEventListener']>) => {
        listeners--;
        controller.signal.removeEventListener(...args);
      },
    } as AbortSignal;
    const x = logits();
    const result = await promises.softmax(x, { signal });
    expect(listeners).toBe(0);
    controller.abort();
    expectSameBits(result, sync.softmax(x), 'softmax');
  });

  it('of many calls at once draws no warning', async () => {
    const warnings: Error[] = [];
    const listener = (warning: Error): number => warnings.push(warning);
    process.on('warning', listener);
    const { signal } = new AbortController();
    const x = logits();
    await Promise.all(Array.from({ length: 100 }, () => promises.softmax(x, { signal })));
    await sleep(10);
    process.off('warning', listener);
    expect(warnings).toEqual([]);
  });
});

describe('a single row', () => {
  it('of a Jacobian is stopped within it, and tells of its progress', async () => {
    // The faster the machine, the more classes until there is a report before the last one.
    let reports: number[] = [];
    for (const n of [8000, 12_000, 16_000, 24_000]) {
      const controller = new AbortController();
      reports = [];
      const onProgress = (done: number, total: number): void => {
        reports.push(done / total);
        controller.abort();
      };
      const call = promises.softmaxJacobian(logits('float32', n), {
        threads: 1,
        signal: controller.signal,
        onProgress,
      });
      const error: unknown = await call.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error === undefined) continue;
      expect(error).toMatchObject({ code: 'ABORT_ERR' });
      break;
    }
    expect(reports).toHaveLength(1);
    expect(reports[0]).toBeGreaterThan(0);
    expect(reports[0]).toBeLessThan(1);
  });
});

describe('onProgress', () => {
  it('counts up to the elements, at most twenty times a second, and ends with all of them', async () => {
    const x = logits('float32', 3000);
    const total = 9_000_000;
    const reports: { done: number; total: number; at: number }[] = [];
    await promises.softmaxJacobian(x, {
      threads: 1,
      onProgress: (done, all) => reports.push({ done, total: all, at: performance.now() }),
    });
    expect(reports.at(-1)).toMatchObject({ done: total, total });
    for (const [i, { done, total: all, at }] of reports.entries()) {
      expect(all).toBe(total);
      if (i === 0) continue;
      expect(done).toBeGreaterThan(reports[i - 1]!.done);
      if (i < reports.length - 1) expect(at - reports[i - 1]!.at).toBeGreaterThan(40);
    }
  });

  it('is called once where little is computed', async () => {
    const reports: number[][] = [];
    await promises.rowMax([1, 2, 3], { onProgress: (...numbers) => reports.push(numbers) });
    expect(reports).toEqual([[3, 3]]);
  });

  type Progress = (done: number) => void;
  it.each([
    [
      'rows',
      (n: number, onProgress: Progress) =>
        promises.softmax(logits('float32', n), { shape: [n / 64, 64], threads: 1, onProgress }),
    ],
    [
      'a long row',
      (n: number, onProgress: Progress) => promises.softmax(logits('float32', n), { threads: 1, onProgress }),
    ],
    [
      'columns',
      (n: number, onProgress: Progress) =>
        promises.softmax(logits('float32', n), { shape: [64, n / 64], axis: 0, threads: 1, onProgress }),
    ],
    [
      'maxima',
      (n: number, onProgress: Progress) =>
        promises.rowMax(logits('float32', n), { shape: [n / 64, 64], threads: 1, onProgress }),
    ],
  ])('sees the work on %s while it goes on', async (_name, call) => {
    // The faster the machine, the more elements until there is a report before the last one.
    let reports: number[] = [];
    for (let n = 2 ** 22; n <= 2 ** 28 && reports.length < 2; n *= 4) {
      reports = [];
      await call(n, (done) => reports.push(done));
      expect(reports.at(-1)).toBe(n);
    }
    expect(reports.length).toBeGreaterThan(1);
    expect(reports[0]).toBeGreaterThan(0);
  });

  it('that throws stops the call, which is rejected with that', async () => {
    const thrown = new Error('mine');
    const onProgress = (): void => {
      throw thrown;
    };
    await expect(promises.softmaxJacobian(logits('float32', 6000), { onProgress })).rejects.toBe(thrown);
    await expect(promises.softmax([1], { onProgress })).rejects.toBe(thrown);
  });
});

describe('calls at once', () => {
  const available = sync.deviceInfo().threads;

  it.skipIf(available < 2)('that use one thread run beside each other', async () => {
    const long = shared(logits('float64', 2 ** 23));
    // Fifty times as fast: it is over while the first is computed.
    const second = shared(logits('float32', 2 ** 19));
    const controller = new AbortController();
    const first = promises.softmax(long, { threads: 1, out: long, signal: controller.signal });
    const result = await promises.softmax(second, { threads: 1 });
    controller.abort();
    await aborted(first);
    expectSameBits(result, sync.softmax(second), 'the second call');
  });
});

describe('jacobianRows', () => {
  const x = logits();
  const shape = [rows, k];
  const expected = sync.softmaxJacobian(x, { shape });

  it.each([1, 7, 299, 300, 1000, undefined])('gives every row once, %s at a time', async (rowsPerChunk) => {
    const own = x.slice();
    const iterator = promises.jacobianRows(own, { shape, rowsPerChunk });
    own.fill(NaN);
    let next = 0;
    for await (const { row, shape: sizes, data } of iterator) {
      expect(row).toBe(next);
      // Without the option as many as make 8 MB.
      expect(sizes).toEqual([Math.min(rowsPerChunk ?? 209, rows - row), k, k]);
      expectSameBits(data, expected.slice(row * k * k, row * k * k + data.length), `row ${row}`);
      next += sizes[0];
    }
    expect(next).toBe(rows);
  });

  it('tells of its progress while it computes chunk after chunk', async () => {
    // The faster the machine, the more rows until there are several reports. Each chunk is over before a timer comes.
    let reports: number[] = [];
    for (let n = 200; n <= 51_200 && reports.length < 4; n *= 4) {
      const onProgress = (done: number, total: number): void => {
        expect(total).toBe(n * 400 * 400);
        reports.push(done);
      };
      reports = [];
      const many = logits('float32', n * 400);
      for await (const _ of promises.jacobianRows(many, { shape: [n, 400], rowsPerChunk: 10, onProgress }))
        void _;
      expect(reports.at(-1)).toBe(n * 400 * 400);
    }
    expect(reports.length).toBeGreaterThanOrEqual(4);
    expect(reports).toEqual(reports.toSorted((a, b) => a - b));
  });

  it('counts the entries of all rows', async () => {
    const reports: number[] = [];
    const onProgress = (done: number, total: number): void => {
      expect(total).toBe(rows * k * k);
      reports.push(done);
    };
    for await (const _ of promises.jacobianRows(x, { shape, rowsPerChunk: 50, onProgress })) void _;
    expect(reports.at(-1)).toBe(rows * k * k);
    expect(reports).toEqual(reports.toSorted((a, b) => a - b));
  });

  it('that is left early, or aborted, stops', async () => {
    for await (const { row } of promises.jacobianRows(x, { shape, rowsPerChunk: 10 })) {
      if (row >= 50) break;
    }
    const controller = new AbortController();
    const loop = async (): Promise<void> => {
      const { signal } = controller;
      for await (const { row } of promises.jacobianRows(x, { shape, rowsPerChunk: 10, signal })) {
        if (row >= 50) controller.abort(new Error('enough'));
      }
    };
    expect((await aborted(loop())).cause).toMatchObject({ message: 'enough' });
  });

  it('that was aborted before, or while the last rows are there already, says so', async () => {
    const own = x.slice();
    const signal = AbortSignal.abort(new Error('before'));
    const before = promises.jacobianRows(own, { shape, signal, transfer: true });
    expect((await aborted(before.next())).cause).toMatchObject({ message: 'before' });
    expect(own).toHaveLength(rows * k);

    const controller = new AbortController();
    const last = promises.jacobianRows(x, { shape, rowsPerChunk: 200, signal: controller.signal });
    expect(await last.next()).toMatchObject({ value: { row: 0 } });
    await sleep(50); // the rest is computed
    controller.abort();
    await aborted(last.next());
  });

  it('takes no out, and the last axis only', () => {
    expectRefusal(
      () => promises.jacobianRows(x, { shape, axis: 0 } as object),
      outOfRange(/^Expected the last axis/),
    );
    for (const name of ['out', 'rows']) {
      const options = { shape, [name]: undefined };
      expectRefusal(
        () => promises.jacobianRows(x, options),
        unknownOption(/rowsPerChunk for the name of an option/),
      );
    }
  });

  it('of plain numbers, tensors and no rows', async () => {
    const chunks = async (iterator: AsyncIterable<promises.JacobianChunk>): Promise<unknown[]> => {
      const all: unknown[] = [];
      for await (const chunk of iterator) all.push(chunk);
      return all;
    };
    const half = { row: 0, shape: [1, 2, 2], data: Float64Array.of(0.25, -0.25, -0.25, 0.25) };
    expect(await chunks(promises.jacobianRows([0, 0]))).toEqual([half]);
    expect(await chunks(promises.jacobianRows([[0, 0]]))).toEqual([half]);
    expect(await chunks(promises.jacobianRows(new Float32Array(0), { shape: [0, 5] }))).toEqual([]);
  });

  it('refuses its arguments at once', () => {
    const refused = (call: () => unknown, { code, message }: ReturnType<typeof wrongType>): void => {
      expect(call).toThrow(expect.objectContaining({ code }) as Error);
      expect(call).toThrow(message);
    };
    refused(() => promises.jacobianRows(x, { shape, rowsPerChunk: 0 }), outOfRange(/for rowsPerChunk/));
    refused(
      () => promises.jacobianRows(x, { rowsPerChunk: '1' as unknown as number }),
      wrongType(/for rowsPerChunk/),
    );
    refused(() => promises.jacobianRows(x, { shape: [2, 2] }), {
      ...outOfRange(/the length of x/),
      code: 'ERR_SHAPE_MISMATCH',
    });
  });
});
