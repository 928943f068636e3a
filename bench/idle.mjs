// Processor time between calls: a program that calls softmax on two threads every 10 ms, for two seconds each way.
//
//   node bench/idle.mjs [--output FOLDER] [--json] [--markdown]
//
// The library is loaded by the main thread, by a worker thread alone, after another library has loaded the OpenMP
// runtime, and with OMP_WAIT_POLICY=active, which lets idle threads spin. One call takes well below a millisecond; a
// spinning thread shows as up to 1000 ms a second.
import { spawnSync } from 'node:child_process';
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

// A process of its own for each way of loading the library is told its way; this one is told a suite's options.
const way = process.argv[2] === '--load' ? process.argv[3] : undefined;

if (!isMainThread || way === 'main') {
  await callEveryTenMilliseconds();
} else if (way === 'worker') {
  const worker = new Worker(new URL(import.meta.url));
  worker.on('error', (error) => {
    throw error;
  });
} else {
  const { machine } = await import('./support.mjs');
  const { reportOptions, write } = await import('./report.mjs');
  const options = reportOptions();
  const { OMP_WAIT_POLICY: _, ...environment } = process.env;
  const ways = [
    ['loaded by the main thread', 'main', environment],
    ['loaded by a worker alone', 'worker', environment],
    ['beside another OpenMP library', 'main', { ...environment, LD_PRELOAD: 'libgomp.so.1' }],
    ['OMP_WAIT_POLICY=active', 'main', { ...environment, OMP_WAIT_POLICY: 'active' }],
  ];
  const results = ways.flatMap(([title, load, env]) => {
    const { stdout } = spawnSync(process.execPath, [import.meta.filename, '--load', load], {
      env,
      encoding: 'utf8',
    });
    return stdout
      .trim()
      .split('\n')
      .map((line) => ({ way: title, ...JSON.parse(line) }));
  });
  const lines = results.map(({ way: title, threads, calls, cpuMillisecondsPerSecond }) => [
    title,
    String(threads),
    String(calls),
    cpuMillisecondsPerSecond.toFixed(0),
  ]);
  const heading = 'Processor time of a program that calls softmax every 10 ms';
  const head = ['the library is', 'threads', 'calls', 'ms a second'];
  write({ benchmark: 'idle', ...machine(), results }, [{ title: heading, lines: [head, ...lines] }], options);
}
