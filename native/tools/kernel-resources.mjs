// What each kernel needs on each architecture: registers, shared memory of a fixed size, stack, and spills, as ptxas
// reports them. Needs nvcc and no GPU; takes some minutes.
//
//   npm run kernel-resources -- [--check] [--save] [--json FILE] [--architectures 80,90] [--jobs N] [FILE.cu]...
//
// --check ends with 1 when a kernel spills registers to memory, --save writes bench/results/kernel-resources.json.
// Without files it compiles all of native/cuda, with the options of CMakeLists.txt.
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { hashOfKernelSources } from './kernel-sources.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    check: { type: 'boolean' },
    save: { type: 'boolean' },
    json: { type: 'string' },
    architectures: { type: 'string', default: '75,80,86,89,90,100,120' },
    jobs: { type: 'string', default: String(availableParallelism()) },
  },
});

const version = nvccVersion();
if (version === undefined) {
  console.error('nvcc is not on the PATH: it comes with the CUDA toolkit.');
  process.exit(1);
}

const folder = path.join(root, 'native/cuda');
const files =
  positionals.length > 0
    ? positionals.map((file) => path.resolve(file))
    : readdirSync(folder)
        .filter((name) => name.endsWith('.cu'))
        .map((name) => path.join(folder, name));
const architectures = supported(options.architectures.split(','));
const kernels = await measure(files, architectures);

print(kernels, architectures);
const spilling = kernels.filter(({ spillStores, spillLoads }) => spillStores + spillLoads > 0);
for (const { kernel, architecture, spillStores, spillLoads } of spilling) {
  console.log(
    `${kernel} spills on ${architecture}: ${spillStores} bytes of stores, ${spillLoads} bytes of loads`,
  );
}
const saved = path.join(root, 'bench/results/kernel-resources.json');
for (const file of [...(options.save ? [saved] : []), ...(options.json ? [options.json] : [])]) {
  const lines = kernels.map((row) => `    ${JSON.stringify(row)}`);
  const sources = hashOfKernelSources();
  writeFileSync(
    file,
    `{\n  "nvcc": "${version}",\n  "sources": "${sources}",\n  "kernels": [\n${lines.join(',\n')}\n  ]\n}\n`,
  );
  console.log(`wrote ${file}`);
}
if (options.check && spilling.length > 0) process.exitCode = 1;

function nvccVersion() {
  const { stdout, error } = spawnSync('nvcc', ['--version'], { encoding: 'utf8' });
  return error ? undefined : (/release [\d.]+, V([\d.]+)/.exec(stdout)?.[1] ?? 'unknown');
}

/** Those that this nvcc compiles for; says which it does not. */
function supported(wanted) {
  const known = execFileSync('nvcc', ['--list-gpu-code'], { encoding: 'utf8' }).split('\n');
  const missing = wanted.filter((architecture) => !known.includes(`sm_${architecture}`));
  if (missing.length > 0) console.log(`nvcc ${version} does not compile for ${missing.join(', ')}`);
  return wanted.filter((architecture) => !missing.includes(architecture)).map((number) => `sm_${number}`);
}

/** Compiles each file for each architecture: one at a time for each nvcc, as their reports do not say whose they are. */
async function measure(sources, targets) {
  const waiting = sources.flatMap((source) => targets.map((architecture) => ({ source, architecture })));
  const output = mkdtempSync(path.join(tmpdir(), 'kernel-resources-'));
  const found = [];
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { source, architecture } = next;
      const target = path.join(output, `${path.basename(source)}.${architecture}.cubin`);
      const { stdout, stderr } = await promisify(execFile)(
        'nvcc',
        [
          '-cubin',
          `-arch=${architecture}`,
          '-std=c++17',
          '-O3',
          '-DNDEBUG',
          '--fmad=false',
          '-Xptxas=-v',
          `-I${path.join(root, 'native')}`,
          '-o',
          target,
          source,
        ],
        { maxBuffer: 2 ** 26 },
      );
      for (const row of read(stdout + stderr, architecture)) {
        found.push({ file: path.basename(source), ...row });
      }
      rmSync(target);
    }
  };
  try {
    await Promise.all(Array.from({ length: Number(options.jobs) }, work));
  } finally {
    rmSync(output, { recursive: true });
  }
  const names = demangled([...new Set(found.map(({ kernel }) => kernel))]);
  const order = (a, b) =>
    compare(a.file, b.file) ||
    compare(a.kernel, b.kernel) ||
    targets.indexOf(a.architecture) - targets.indexOf(b.architecture);
  return found.map((row) => ({ ...row, kernel: names.get(row.kernel) })).toSorted(order);
}

/**
 * The kernels of one report of ptxas, and the functions called by them that it did not inline, which have no registers of
 * their own.
 */
function read(report, architecture) {
  const rows = [];
  const entries = new Set();
  for (const line of report.split('\n')) {
    const entry = /Compiling entry function '(.+)' for '(.+)'/.exec(line);
    const name = /Function properties for (\S+)/.exec(line)?.[1];
    const memory = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    const used = /Used (\d+) registers(.*)/.exec(line);
    if (entry) {
      entries.add(entry[1]);
    } else if (name !== undefined) {
      const isKernel = entries.has(name);
      rows.push({ kernel: name, architecture, ...(isKernel ? { registers: 0, shared: 0 } : {}) });
    } else if (memory) {
      const [stack, spillStores, spillLoads] = memory.slice(1).map(Number);
      Object.assign(rows.at(-1), { stack, spillStores, spillLoads });
    } else if (used) {
      // The registers are those of the kernel, whose functions may be reported before this.
      const row = rows.findLast((r) => r.registers !== undefined);
      row.registers = Number(used[1]);
      row.shared = Number(/(\d+) bytes smem/.exec(used[2])?.[1] ?? 0);
    }
  }
  if (rows.some((row) => row.stack === undefined || row.registers === 0)) {
    throw new Error(`A report of ptxas that this program does not understand:\n${report}`);
  }
  return rows;
}

/** "softmax_rows<float, 4>" for "void softmax_native::cuda::softmax_rows<float, 4>(float const*, long)". */
function demangled(symbols) {
  const filter = ['c++filt', 'cu++filt'].find((name) => spawnSync(name, ['--version']).status === 0);
  if (filter === undefined || symbols.length === 0) return new Map(symbols.map((name) => [name, name]));
  const lines = execFileSync(filter, { input: symbols.join('\n'), encoding: 'utf8' })
    .trim()
    .split('\n');
  return new Map(symbols.map((symbol, i) => [symbol, shortName(lines[i])]));
}

function shortName(name) {
  return name
    .replaceAll(/softmax_native::cuda::|\(anonymous namespace\)::/g, '')
    .replace(/^void /, '')
    .replace(/\(.*$/, '');
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Registers of each kernel, a column for each architecture. */
function print(rows, targets) {
  const names = [...new Set(rows.map(({ kernel }) => kernel))];
  console.log(`Registers of a thread; + bytes of stack; nvcc ${version}`);
  console.table(
    Object.fromEntries(
      names.map((name) => [
        name,
        Object.fromEntries(
          targets.map((architecture) => {
            const row = rows.find((r) => r.kernel === name && r.architecture === architecture);
            return [architecture, row === undefined ? '' : textOf(row)];
          }),
        ),
      ]),
    ),
  );
}

function textOf({ registers, stack, spillStores, spillLoads }) {
  const number = registers === undefined ? 'called' : String(registers);
  const spills = spillStores + spillLoads > 0 ? ' SPILLS' : '';
  return `${number}${stack > 0 ? ` + ${stack}` : ''}${spills}`;
}
