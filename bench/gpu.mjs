// The GPU: every kernel beside a copy of as many bytes (the Jacobian's beside a fill), Python's libraries on the same
// shapes, what a call from JavaScript costs, and arrays of the host through the GPU beside the speed of the bus.
//
//   node bench/gpu.mjs [--quick] [--json FILE] [--python PROGRAM] [--peer-seconds N] [--device N]
//   node bench/gpu.mjs --dry-run [--build FOLDER]
//
// Without a GPU that can be used it says why, and that is all. --quick takes less than a minute and measures fewer
// shapes. --dry-run runs all of it at tiny sizes on the emulated device of the tests (in the build folder), and its
// figures mean nothing.
//
// gpu/kernels.cpp says how kernels are timed; gpu/peers.py times the libraries in the same way, in a process of its own
// with copies of its own, which show whether the GPU was the same for both.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    'peer-seconds': { type: 'string', default: '170' },
    device: { type: 'string', default: '0' },
    'dry-run': { type: 'boolean', default: false },
    build: { type: 'string', default: fileURLToPath(new URL('../build', import.meta.url)) },
  },
});
const { quick, 'dry-run': dryRun } = options;
const gpu = Number(options.device);

/** From here on it is the memory's speed that counts, and ratios to a copy say how well it is used. */
const largeBytes = 64 * 2 ** 20;

if (dryRun) process.env.SOFTMAX_NATIVE_LIBRARY = path.resolve(options.build, 'emulated/softmax_native.node');
// The library is loaded as the environment says by then.
const { allocPinned, cudaDevice, deviceInfo, rowMax, softmax, softmaxJacobian } =
  await import('softmax-native');
const { machine, median, medianTimes, normalNumbers } = await import('./support.mjs');

const { cuda } = deviceInfo();
if (!cuda.available) {
  console.log(`Nothing measured, as no GPU can be used. ${cuda.reason}`);
  process.exit(0);
}

const { device, transfers, cases: kernels, nvidiaSmi, enqueuedAhead } = await measureKernels();
printKernels(kernels);
printSteps(kernels);
const peers = await measurePeers(device, kernels);
const calls = await measureCalls();
console.log('\nCalls on tensors, in microseconds a call');
console.table(calls);
const { costs: autoCosts, arrays: hostArrays } = measureHostArrays(transfers);
printHostArrays(hostArrays, transfers);
const firstCalls = measureFirstCalls();
printFirstCalls(firstCalls);
printPeers(kernels, peers);
printSummary();

const wrong = kernels.filter(({ right }) => !right);
if (wrong.length > 0) {
  console.error('\nWRONG RESULTS');
  for (const c of wrong) console.error(`  ${c.operation} ${c.dtype} ${c.shape.join(' x ')}, ${c.plan}`);
  process.exitCode = 1;
}
if (dryRun) {
  console.log('\nThis was an emulated device: none of these figures means anything.');
} else if (options.json !== undefined) {
  const { driverVersion, runtimeVersion } = cuda;
  const result = {
    benchmark: 'gpu',
    ...machine(),
    quick,
    gpu: { ...device, driverVersion, runtimeVersion, nvidiaSmi },
    transfers,
    enqueuedAhead,
    kernels,
    calls,
    autoCosts,
    hostArrays,
    firstCalls,
    peers,
  };
  writeFileSync(options.json, `${byLines(result)}\n`);
  console.log(`wrote ${options.json}`);
}

/** What gpu_bench prints: the device, its transfers, and the cases. */
async function measureKernels() {
  const program = path.join(options.build, 'programs', dryRun ? 'gpu_bench_emulated' : 'gpu_bench');
  if (!existsSync(program)) {
    console.error(`${program} is missing: npm run build:native, where nvcc is found, makes it.`);
    process.exit(1);
  }
  const found = { cases: [] };
  const size = dryRun ? ['--tiny'] : quick ? ['--quick'] : [];
  const { status, stderr } = await readLines(
    program,
    [...size, '--device', String(gpu)],
    ({ type, ...line }) => {
      if (type === 'device') found.device = line;
      if (type === 'case') found.cases.push(line);
      if (type === 'end') found.enqueuedAhead = line.enqueuedAhead;
      if (type === 'transfers') {
        found.transfers = line;
        // A second of copies follows, in which clocks are those of a GPU at work.
        found.smi = queryNvidiaSmi();
      }
    },
  );
  // The emulated device writes what it finds wrong to the standard error output.
  if (status !== 0 || (dryRun && stderr !== '')) {
    console.error(`${program} ended with ${status}: ${stderr}`);
    process.exit(1);
  }
  const { smi, ...result } = found;
  return { ...result, nvidiaSmi: (await smi)?.find(({ name }) => name === found.device.name) };
}

/** Runs a program that prints a line of JSON at a time. */
async function readLines(program, args, onLine, { input, timeout } = {}) {
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  // A program that ends without reading its input is judged by its status.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const status = new Promise((resolve) => {
    child.on('error', (error) => {
      stderr += error.message;
      resolve(undefined);
    });
    child.on('close', (code, signal) => resolve(code ?? signal));
  });
  for await (const line of createInterface({ input: child.stdout })) onLine(JSON.parse(line));
  return { status: await status, stderr };
}

/** What nvidia-smi tells of each GPU; undefined where it cannot be run. */
async function queryNvidiaSmi() {
  const names = [
    'name',
    'driver_version',
    'clocks.sm',
    'clocks.mem',
    'clocks.max.sm',
    'clocks.max.mem',
    'power.limit',
    'temperature.gpu',
  ];
  const child = spawn('nvidia-smi', [`--query-gpu=${names.join(',')}`, '--format=csv,noheader']);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part) => (text += part));
  const status = await new Promise((resolve) => {
    child.on('error', resolve);
    child.on('close', resolve);
  });
  if (status !== 0) return undefined;
  return text
    .trim()
    .split('\n')
    .map((line) => Object.fromEntries(line.split(', ').map((value, i) => [names[i], value])));
}

/** Python's libraries on some of the kernels' shapes, in one process. */
async function measurePeers({ l2Bytes }, cases) {
  const chosen = cases.filter(isForPeers).map(({ operation, shape }) => ({ operation, shape }));
  const found = { libraries: [], cases: [], failures: [], late: [] };
  if (spawnSync(options.python, ['--version']).status !== 0) {
    console.log(`\nNo Python libraries measured: ${options.python} cannot be run.`);
    return found;
  }
  const seconds = dryRun || quick ? 20 : Number(options['peer-seconds']);
  const request = { cases: chosen, l2Bytes, areaBytes: 2 ** 29, rounds: quick ? 9 : 21, seconds };
  const { status, stderr } = await readLines(
    options.python,
    [fileURLToPath(new URL('gpu/peers.py', import.meta.url))],
    ({ type, ...line }) => {
      found[{ peer: 'libraries', case: 'cases', failure: 'failures', late: 'late' }[type]].push(line);
    },
    // Importing them takes some seconds each.
    { input: JSON.stringify(request), timeout: (seconds + (quick ? 25 : 60)) * 1000 },
  );
  if (status !== 0) console.log(`\npeers.py ended with ${status}: ${stderr.trim().split('\n').at(-1)}`);
  return found;
}

function isForPeers({ operation, dtype, shape, misaligned, bytes }) {
  if (dtype !== 'float32' || shape.length > 2 || misaligned) return false;
  const [rows, k] = shape;
  if (dryRun) return k === 100;
  // Many rows are of 256 MB, or of as much as a small GPU holds.
  const isFew = rows <= 16 && bytes < 2 ** 27;
  if (operation === 'rowMax') return isFew ? rows === 4 && k === 2 ** 20 : [10, 1000, 131_072].includes(k);
  if (operation === 'softmaxJacobian') return !isFew;
  if (isFew) return [1, 4].includes(rows) && [131_072, 2 ** 20].includes(k);
  return [8, 10, 32, 100, 257, 1000, 1024, 4096, 8192, 32_768, 131_072, 262_144, 1_000_000].includes(k);
}

/** What calls on tensors take: until they return, and with what the GPU has left to do after the last of many. */
async function measureCalls() {
  const on = cudaDevice(gpu);
  const rows = 4;
  const k = 32;
  const x = on.tensor(normalNumbers(new Float32Array(rows * k)), { shape: [rows, k] });
  const out = on.empty([rows, k]);
  const max = on.empty([rows]);
  const argmax = on.empty([rows], { dtype: 'int32' });
  const jacobian = on.empty([rows, k, k]);
  const results = [];
  for (const [call, run] of [
    ['softmax(x, { out })', () => softmax(x, { out })],
    ['softmax(x).dispose()', () => softmax(x).dispose()],
    ['rowMax(x, { out: { max, argmax } })', () => rowMax(x, { out: { max, argmax } })],
    ['softmaxJacobian(x, { out })', () => softmaxJacobian(x, { out: jacobian })],
  ]) {
    // Fewer than CUDA's queue holds, so that no call waits for the GPU.
    const count = dryRun ? 5 : 300;
    const rounds = dryRun ? 2 : 31;
    const returned = [];
    const done = [];
    for (let round = -5; round < rounds; round++) {
      const start = performance.now();
      for (let i = 0; i < count; i++) run();
      const end = performance.now();
      await on.synchronize();
      if (round < 0) continue;
      returned.push((1000 * (end - start)) / count);
      done.push((1000 * (performance.now() - start)) / count);
    }
    results.push({
      call,
      shape: `${rows} x ${k}`,
      returns: rounded(median(returned)),
      done: rounded(median(done)),
    });
  }
  for (const tensor of [x, out, max, argmax, jacobian]) tensor.dispose();
  return results;
}

/**
 * What the first call of a kernel costs a process, with the machine code of the build and where the driver compiles the
 * kernels from PTX, as it does for GPUs newer than all that code (and then keeps the result, which it is told not to here).
 */
function measureFirstCalls() {
  const program = fileURLToPath(new URL('gpu/first-calls.mjs', import.meta.url));
  const times = (environment) => {
    const { stdout, stderr } = spawnSync(process.execPath, [program, String(gpu)], {
      encoding: 'utf8',
      env: { ...process.env, ...environment },
      timeout: 60_000,
    });
    if (stdout !== '') return JSON.parse(stdout);
    console.error(`first calls, ${JSON.stringify(environment)}: ${stderr}`);
    return [];
  };
  const compiled = times({});
  const fromPtx = times({ CUDA_FORCE_PTX_JIT: '1', CUDA_CACHE_DISABLE: '1' });
  return compiled.map((row) => {
    const { first, second } = fromPtx.find(({ call }) => call === row.call) ?? {};
    return { ...row, firstFromPtx: first, secondFromPtx: second };
  });
}

function printFirstCalls(rows) {
  console.log("\nA process's first calls, in milliseconds, and the same again");
  console.table(rows);
}

/**
 * Calls on arrays of the host, on the CPU and through the GPU: those for which deviceInfo() tells what 'auto' chooses,
 * which is right where it was no more than a tenth slower than the other.
 */
function measureHostArrays({ upload, download }) {
  const name = `cuda:${gpu}`;
  const { cuda: started } = deviceInfo();
  if (started.devices.findIndex(({ usable }) => usable) !== gpu) {
    console.log(`\nArrays of the host are measured for the first GPU only, whose costs 'auto' knows.`);
    return { costs: undefined, arrays: [] };
  }
  const elementsOf = ({ operation, shape: [rows, k] }) =>
    rows * k * (operation === 'softmaxJacobian' ? k : 1);
  const arrays = started.auto.choices
    .filter((choice) => !dryRun || elementsOf(choice) <= 70_000)
    .map(({ operation, shape, pinned, device: auto, cpuSeconds, cudaSeconds }) => {
      const [rows, k] = shape;
      const array = (length) => (pinned ? allocPinned('float32', length) : new Float32Array(length));
      const x = normalNumbers(array(rows * k));
      const results = {
        softmax: () => array(rows * k),
        rowMax: () => ({ max: array(rows), argmax: new Int32Array(rows) }),
        softmaxJacobian: () => array(rows * k * k),
      };
      const out = results[operation]();
      const call = { softmax, rowMax, softmaxJacobian }[operation];
      const [cpu, gpuTime] = medianTimes(
        ['cpu', name].map((on) => () => call(x, { shape, out, device: on })),
        dryRun ? { rounds: 1, atLeastNanoseconds: 1 } : { rounds: quick ? 5 : 11 },
      );
      const written = operation === 'rowMax' ? 8 * rows : 4 * elementsOf({ operation, shape });
      // What crosses the bus does so both ways at a time.
      const bus = 1e9 * Math.max((4 * rows * k) / upload, written / download);
      const chosen = auto === 'cuda' ? gpuTime : cpu;
      return {
        operation,
        shape,
        pinned,
        cpuMicroseconds: rounded(cpu / 1000),
        cudaMicroseconds: rounded(gpuTime / 1000),
        estimatedCpuMicroseconds: rounded(1e6 * cpuSeconds),
        estimatedCudaMicroseconds: rounded(1e6 * cudaSeconds),
        ofTheBus: Number((bus / gpuTime).toFixed(3)),
        auto,
        autoWasRight: chosen <= 1.1 * Math.min(cpu, gpuTime),
      };
    });
  return { costs: started.auto.costs, arrays };
}

function printKernels(cases) {
  console.log(`\n${device.name}: kernels, and a copy (fill) of as many bytes in the same run`);
  console.table(
    cases.map((c) => ({
      operation: c.operation,
      type: c.dtype,
      shape: c.shape.join(' x ') + (c.misaligned ? ', misaligned' : ''),
      plan: c.plan,
      us: c.microseconds.median.toFixed(1),
      '10 to 90 %': `${c.microseconds.low.toFixed(1)} to ${c.microseconds.high.toFixed(1)}`,
      'GB/s': (c.bytes / c.microseconds.median / 1000).toFixed(0),
      'copy or fill': c.referenceMicroseconds.median.toFixed(1),
      ratio: c.ratio.toFixed(3),
    })),
  );
}

/** How much longer a byte takes at k + 1 than at k, where both were measured: where the policy changes its mind. */
function stepsOf(cases) {
  const many = cases.filter(
    ({ operation, shape, misaligned, bytes }) =>
      operation === 'softmax' && shape.length === 2 && !misaligned && bytes >= largeBytes,
  );
  return many.flatMap((before) => {
    const after = many.find(
      ({ dtype, shape: [rows, k] }) =>
        dtype === before.dtype && k === before.shape[1] + 1 && rows > 16 === before.shape[0] > 16,
    );
    if (after === undefined) return [];
    const step = after.microseconds.median / after.bytes / (before.microseconds.median / before.bytes);
    return [{ dtype: before.dtype, k: before.shape[1], plans: [before.plan, after.plan], step }];
  });
}

function printSteps(cases) {
  const steps = stepsOf(cases);
  if (steps.length === 0) return;
  console.log('\nTime for a byte of softmax at k + 1, that at k being 1');
  console.table(
    steps.map(({ dtype, k, plans, step }) => ({
      type: dtype,
      k,
      plans: plans.join(', '),
      step: step.toFixed(3),
    })),
  );
}

function printHostArrays(arrays, { upload, download, uploadWhileDownloading }) {
  const gigabytes = (rate) => `${(rate / 1e9).toFixed(1)} GB/s`;
  console.log(
    `\nFloat32Arrays of the host. The bus: ${gigabytes(upload)} up, ${gigabytes(download)} down, ` +
      `${gigabytes(uploadWhileDownloading)} each way at once`,
  );
  console.table(
    arrays.map((a) => ({
      operation: a.operation,
      shape: a.shape.join(' x '),
      memory: a.pinned ? 'pinned' : 'pageable',
      'CPU, us': a.cpuMicroseconds,
      'GPU, us': a.cudaMicroseconds,
      'of the bus': a.ofTheBus,
      auto: a.auto,
      'was right': a.autoWasRight,
    })),
  );
}

function printPeers(cases, { libraries, cases: measured, failures, late }) {
  console.log(
    '\nfloat32 beside Python libraries: the ratio to a copy (fill), and the time of each in that of this library',
  );
  for (const { peer, version, absent } of libraries) {
    console.log(`  ${peer} ${version ?? `was not measured: ${absent}`}`);
  }
  for (const { peer, operation, shape, reason } of failures) {
    console.log(`  ${peer} failed at ${operation} ${shape.join(' x ')}: ${reason}`);
  }
  for (const { peer, cases: count } of late) console.log(`  ${peer}: no time for ${count} shapes`);
  for (const { peer, operation, shape } of measured.filter(({ right }) => !right)) {
    console.log(`  ${peer} gave a wrong result at ${operation} ${shape.join(' x ')}`);
  }
  const present = libraries.flatMap(({ peer, absent }) => (absent === undefined ? [peer] : []));
  console.table(
    cases.filter(isForPeers).map((own) => {
      const row = {
        operation: own.operation,
        shape: own.shape.join(' x '),
        us: own.microseconds.median.toFixed(1),
        'this library': own.ratio.toFixed(2),
      };
      for (const peer of present) {
        const other = measured.find((m) => m.peer === peer && isSameCase(m, own));
        row[peer] =
          other === undefined ? '' : `${other.ratio.toFixed(2)}, ${timesAsFast(own, other).toFixed(2)} times`;
      }
      return row;
    }),
  );
}

function isSameCase(a, b) {
  return a.operation === b.operation && String(a.shape) === String(b.shape);
}

function timesAsFast(own, other) {
  return other.microseconds.median / own.microseconds.median;
}

function printSummary() {
  const lowest = (list, value) => list.reduce((a, b) => (value(b) < value(a) ? b : a));
  const nameOf = ({ operation, dtype = 'float32', shape }) => `${operation} ${dtype} ${shape.join(' x ')}`;
  const lines = [];
  for (const operation of ['softmax', 'rowMax', 'softmaxJacobian']) {
    const large = kernels.filter((c) => c.operation === operation && c.bytes >= largeBytes);
    if (large.length === 0) continue;
    const worst = lowest(large, ({ ratio }) => ratio);
    lines.push(
      `${operation} of 64 MB and more: ${worst.ratio.toFixed(3)} at worst, ${nameOf(worst)}, ${worst.plan}`,
    );
  }
  const steps = stepsOf(kernels);
  if (steps.length > 0) {
    const { dtype, k, step } = lowest(steps, (s) => -s.step);
    lines.push(`largest step from k to k + 1: ${step.toFixed(3)}, ${dtype}, from ${k}`);
  }
  const few = kernels.find(
    ({ operation, dtype, shape }) =>
      operation === 'softmax' && dtype === 'float32' && String(shape) === String([4, 2 ** 20]),
  );
  if (few !== undefined) {
    lines.push(`softmax float32 4 x 1048576: ${(1 / few.ratio).toFixed(2)} times as long as the copy`);
  }
  const comparisons = peers.cases.map((other) => {
    const own = kernels.find((c) => isForPeers(c) && isSameCase(c, other));
    const references = other.referenceMicroseconds.median / own.referenceMicroseconds.median;
    return { ...other, bytes: own.bytes, times: timesAsFast(own, other), references };
  });
  if (comparisons.length > 0) {
    const least = lowest(comparisons, ({ times }) => times);
    lines.push(`least ahead of ${least.peer}: ${least.times.toFixed(2)} times as fast at ${nameOf(least)}`);
  }
  const drift = comparisons
    .filter(({ bytes, reference }) => bytes >= largeBytes && reference === 'copy')
    .map(({ references }) => references);
  if (drift.length > 0) {
    const [from, to] = [Math.min(...drift), Math.max(...drift)].map((x) => x.toFixed(3));
    lines.push(
      `the libraries' copies of 64 MB and more: ${from} to ${to} times as long as the same copies here`,
    );
  }
  const slowest = lowest(calls, ({ returns }) => -returns);
  lines.push(`slowest call on tensors: ${slowest.returns} us, ${slowest.call}`);
  const missed = hostArrays.filter(({ autoWasRight }) => !autoWasRight).length;
  if (hostArrays.length > 0)
    lines.push(`'auto' chose the slower device ${missed} times of ${hostArrays.length}`);
  if (!enqueuedAhead)
    lines.push('launches could not be enqueued ahead: small cases show the speed of the host');
  console.log(`\n${lines.join('\n')}`);
}

function rounded(number) {
  return Number(number.toFixed(2));
}

/** JSON with a line for each measurement. */
function byLines(value, indent = '') {
  if (!holdsObjects(value)) return JSON.stringify(value);
  const lines = Array.isArray(value)
    ? value.map((item) => `${indent}  ${JSON.stringify(item)}`)
    : Object.entries(value).map(
        ([name, item]) => `${indent}  ${JSON.stringify(name)}: ${byLines(item, `${indent}  `)}`,
      );
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return `${open}\n${lines.join(',\n')}\n${indent}${close}`;
}

function holdsObjects(value) {
  return typeof value === 'object' && Object.values(value).some((item) => typeof item === 'object');
}
