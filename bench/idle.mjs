// Processor time between calls: a program that calls softmax on two threads every 10 ms, for two seconds each way.
//
//   node bench/idle.mjs [--json FILE]
//
// The library is loaded by the main thread, by a worker thread alone, after another library has loaded the OpenMP
// runtime, and with OMP_WAIT_POLICY=active, which lets idle threads spin. One call takes well below a millisecond; a
// spinning thread shows as up to 1000 ms a second.
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { isMainThread, Worker } from 'node:worker_threads';

const milliseconds = 2000;

async function callEveryTenMilliseconds() {
  const { softmax } = await import('softmax-native');
  const x = new Float32Array(256 * 1000);
  const shape = [256, 1000];
  for (const threads of [2, 1]) {
    const before = process.cpuUsage();
    const start = performance.now();
    let calls = 0;
    while (performance.now() - start < milliseconds) {
      softmax(x, { shape, out: x, threads });
      calls++;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const { user, system } = process.cpuUsage(before);
    const seconds = (performance.now() - start) / 1000;
    console.log(
      JSON.stringify({ threads, calls, cpuMillisecondsPerSecond: (user + system) / 1000 / seconds }),
    );
  }
}

const { values: options } = parseArgs({ options: { json: { type: 'string' }, load: { type: 'string' } } });

if (!isMainThread || options.load === 'main') {
  await callEveryTenMilliseconds();
} else if (options.load === 'worker') {
  const worker = new Worker(new URL(import.meta.url));
  worker.on('error', (error) => {
    throw error;
  });
} else {
  const { machine, writeResult } = await import('./support.mjs');
  const { OMP_WAIT_POLICY: _, ...environment } = process.env;
  const ways = [
    ['loaded by the main thread', 'main', environment],
    ['loaded by a worker alone', 'worker', environment],
    ['beside another OpenMP library', 'main', { ...environment, LD_PRELOAD: 'libgomp.so.1' }],
    ['OMP_WAIT_POLICY=active', 'main', { ...environment, OMP_WAIT_POLICY: 'active' }],
  ];
  const results = ways.flatMap(([way, load, env]) => {
    const { stdout } = spawnSync(process.execPath, [import.meta.filename, '--load', load], {
      env,
      encoding: 'utf8',
    });
    return stdout
      .trim()
      .split('\n')
      .map((line) => ({ way, ...JSON.parse(line) }));
  });
  console.table(results);
  writeResult(options.json, { benchmark: 'idle', ...machine(), results });
}
