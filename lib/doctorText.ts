// The doctor's report in words: a line or more for each subject, then what to know and what to do.
import type { AutoChoice, AutoInfo } from './choosing.ts';
import { counted, type Report, type Threads } from './doctor.ts';
import type { GpuInfo } from './device.ts';
import type { SelfTest } from './selfTest.ts';

const indent = ' '.repeat(17);

/** The report as a text that ends with a line's end. */
export function inWords(report: Report): string {
  const { library, node, platform, problems, notes, environment } = report;
  const glibc = platform.glibc === null ? '' : `, glibc ${platform.glibc}`;
  const system = `${platform.system}, ${platform.name}${glibc}`;
  const set = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const sections: [string, string[]][] = [
    ['Package', [`softmax-native ${report.package.version} in ${report.package.folder}`]],
    ['Node.js', [`${node.version}, Node-API ${node.nodeApi}, ${node.file}`]],
    ['System', [system]],
    ['Processor', [platform.processor || 'without a name']],
    ['Native library', [library.loaded ? (library.file ?? 'loaded') : 'NOT LOADED, see below']],
    ['Instruction set', instructionSet(report)],
    ['Threads', [`${report.threads.byDefault} by default: ${reasonOf(report.threads)}`]],
    ['OpenMP', openMp(report)],
    ['GPU', gpu(report)],
    ['Default device', [defaultDevice(report)]],
    ['Environment', set.length > 0 ? set : ['none of the variables that matter is set']],
    [
      'Self-test',
      report.selfTests.length > 0 ? report.selfTests.map(tested) : ['not run, as nothing computes'],
    ],
  ];
  const lines = sections.flatMap(([name, texts]) =>
    texts.map((text, i) => `${(i === 0 ? name : '').padEnd(indent.length)}${text}`),
  );
  for (const note of notes) lines.push('', `Note: ${note}`);
  for (const { what, remedies } of problems) {
    lines.push('', `PROBLEM: ${what}`);
    if (remedies.length > 0) lines.push('What to do:', ...remedies.map((remedy) => `- ${remedy}`));
  }
  lines.push(
    '',
    problems.length === 0 ? 'Everything works.' : `${counted(problems.length, 'problem')} found.`,
  );
  return `${lines.join('\n')}\n`;
}

function instructionSet({ instructionSet: { used, available }, environment }: Report): string[] {
  if (used === null) return ['unknown'];
  const why = environment['SOFTMAX_NATIVE_ISA'] ? 'as SOFTMAX_NATIVE_ISA says' : 'the best one here';
  return [`${used}, ${why} (available: ${available.join(', ')})`];
}

function reasonOf({ because, processors, quota }: Threads): string {
  if (because === 'calling thread only') return 'the library uses the calling thread only';
  const available = `${counted(processors, 'processor')} available to this process`;
  const limited = quota === null ? 'no processor quota' : `a processor quota of ${Number(quota.toFixed(2))}`;
  const machine = `${available}, ${limited}`;
  return because === 'environment' ? `OMP_NUM_THREADS says so (${machine})` : machine;
}

function openMp({ openMp: { file, idleThreads }, environment }: Report): string[] {
  const policy = environment['OMP_WAIT_POLICY'];
  const idle =
    idleThreads === null
      ? []
      : [
          policy === undefined
            ? 'OMP_WAIT_POLICY is not set: idle threads sleep, if the main thread imports the package (as here); if worker threads alone do, calls use one thread'
            : `OMP_WAIT_POLICY is ${policy}: idle threads ${idleThreads}`,
        ];
  return [file ?? 'no runtime was found in this process', ...idle];
}

function gpu({ cuda }: Report): string[] {
  const built =
    cuda.runtimeVersion === undefined
      ? []
      : [`this build holds CUDA ${cuda.runtimeVersion}, for driver ${cuda.minimumDriver} or later`];
  const driver =
    cuda.driverVersion === undefined ? [] : [`the driver supports CUDA up to ${cuda.driverVersion}`];
  // The reason names what this build needs where that is missing.
  if (!cuda.available) return [`none is used. ${cuda.reason}`, ...driver];
  return [...cuda.devices.map(described), ...built, ...driver, ...auto(cuda.auto)];
}

function described({ device, name, computeCapability, memory, multiprocessors, reason }: GpuInfo): string {
  const size = `${(memory / 2 ** 30).toFixed(1)} GiB`;
  const use = reason === undefined ? 'can be used' : `cannot be used: ${reason}`;
  return `${device}, ${name}, compute capability ${computeCapability}, ${size}, ${multiprocessors} multiprocessors: ${use}`;
}

function auto({ source, costs, choices }: AutoInfo): string[] {
  const { upload, download, staging, launch } = costs;
  const speed = (bytes: number): string => `${(bytes / 1e9).toPrecision(3)} GB/s`;
  return [
    `'auto' counts with ${source} costs: upload ${speed(upload)}, download ${speed(download)}, ` +
      `copies to and from page-locked memory ${speed(staging)}, launch ${time(launch)}`,
    "'auto' would choose for float32 arrays:",
    ...choices.map(chosen),
  ];
}

function chosen({ operation, shape, pinned, device, cpuSeconds, cudaSeconds }: AutoChoice): string {
  const call = `${operation} ${shape.join(' x ')}${pinned ? ', page-locked' : ''}`;
  const place = device === 'cpu' ? 'CPU' : 'GPU';
  return `  ${call.padEnd(40)}${place}  (CPU ${time(cpuSeconds)}, GPU ${time(cudaSeconds)})`;
}

function time(seconds: number): string {
  if (seconds >= 1) return `${seconds.toPrecision(3)} s`;
  return seconds >= 1e-3 ? `${(seconds * 1e3).toPrecision(3)} ms` : `${(seconds * 1e6).toPrecision(3)} µs`;
}

function defaultDevice({ defaultDevice: device, environment }: Report): string {
  return environment['SOFTMAX_NATIVE_DEVICE'] ? `${device}, as SOFTMAX_NATIVE_DEVICE says` : device;
}

function tested({ device, results, differing, failure }: SelfTest): string {
  if (failure !== undefined) return `${device}: FAILED after ${results} results, see below`;
  return differing.length === 0
    ? `${device}: all ${results} results have the expected bits`
    : `${device}: ${differing.length} of ${results} results DIFFER, see below`;
}
