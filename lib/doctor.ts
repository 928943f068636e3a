// What `softmax-native doctor` examines: versions, the native library, the instruction set, threads, GPUs, and whether the
// results have the bits that they should have. doctorText.ts puts it into words.
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { leastElementsForGpu } from './auto.ts';
import { native } from './binding.ts';
import { deviceInfo, type CpuInfo, type CudaInfo, type NoCudaInfo, type NoDeviceInfo } from './device.ts';
import { readDevice, type Device } from './placement.ts';
import { selfTest, type SelfTest } from './selfTest.ts';
import { fromEnvironment, processorQuota, readText } from './threads.ts';

/** What was found, as `softmax-native doctor --json` prints it. */
export interface Report {
  /** Whether there are no problems. */
  readonly ok: boolean;
  /** What does not work, and what to do about it. */
  readonly problems: readonly Problem[];
  /** What works, and may not be what is wanted. */
  readonly notes: readonly string[];
  readonly package: { readonly version: string; readonly folder: string };
  readonly node: { readonly version: string; readonly nodeApi: string; readonly file: string };
  readonly platform: {
    /** Such as linux-x64. */
    readonly name: string;
    /** The operating system and its release. */
    readonly system: string;
    /** The version of the C library; null where it is not glibc. */
    readonly glibc: string | null;
    /** The processor's name. */
    readonly processor: string;
  };
  readonly library: {
    readonly loaded: boolean;
    /** The file that was loaded. */
    readonly file: string | null;
    /** Why it was not loaded. */
    readonly reason: string | null;
  };
  readonly instructionSet: { readonly used: string | null; readonly available: readonly string[] };
  readonly threads: Threads;
  readonly openMp: {
    /** The runtime's file. */
    readonly file: string | null;
    /** What its threads do between calls; null where no library is loaded. */
    readonly idleThreads: 'sleep' | 'spin' | null;
  };
  readonly cuda: CudaInfo | NoCudaInfo;
  readonly defaultDevice: Device;
  readonly selfTests: readonly SelfTest[];
  /** The environment variables that are set and that this package, OpenMP, CUDA or the loader of libraries read. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface Problem {
  readonly what: string;
  readonly remedies: readonly string[];
}

export interface Threads {
  /** The most that a call uses unless it says otherwise. */
  readonly byDefault: number;
  /** What decided that: OMP_NUM_THREADS, the quota, the processors, or a library that has the calling thread only. */
  readonly because: 'environment' | 'quota' | 'processors' | 'calling thread only';
  /** Processors available to the process. */
  readonly processors: number;
  /** The processor quota of the container, in processors; null without one. */
  readonly quota: number | null;
}

/** Examines this process. It does not throw. */
export function examine(): Report {
  const before = deviceInfo();
  const selfTests = devicesToTest(before).map((device) => selfTest(device));
  // Once a GPU has been used, the costs that 'auto' counts with are measured ones.
  const info = deviceInfo();
  const { header, sharedObjects } = processReport();
  const loaded = info.backend === 'cpu';
  const examined = {
    package: { version: info.version, folder: packageFolder },
    node: { version: process.version, nodeApi: process.versions['napi'] ?? '', file: process.execPath },
    platform: {
      name: `${process.platform}-${process.arch}`,
      system: `${os.type()} ${os.release()}`,
      glibc: header.glibcVersionRuntime ?? null,
      processor: os.cpus()[0]?.model.trim() ?? '',
    },
    library: {
      loaded,
      file: loaded ? libraryFile() : null,
      reason: loaded ? null : info.reason,
    },
    instructionSet: { used: loaded ? info.isa : null, available: info.availableIsas },
    threads: examineThreads(info),
    openMp: {
      file: sharedObjects.find((file) => /lib[gi]?omp\d?\b[^/]*$/.test(file)) ?? null,
      idleThreads: loaded ? (info.passiveWait ? 'sleep' : 'spin') : null,
    },
    cuda: info.cuda,
    defaultDevice: info.defaultDevice,
    selfTests,
    environment: variables(),
  } as const;
  const problems = problemsOf(examined);
  return { ok: problems.length === 0, problems, notes: notesOf(examined), ...examined };
}

type Examined = Omit<Report, 'ok' | 'problems' | 'notes'>;

function devicesToTest(info: CpuInfo | NoDeviceInfo): Device[] {
  if (info.backend === 'none') return [];
  const gpus = info.cuda.available ? info.cuda.devices.filter(({ usable }) => usable) : [];
  return ['cpu', ...gpus.map(({ device }) => device)];
}

// The parent of lib/ in the repository, of dist/ in the installed package.
const packageFolder = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** Node.js keeps what it has loaded by the file's name. */
function libraryFile(): string | null {
  const { cache } = createRequire(import.meta.url);
  const library = native();
  return Object.values(cache).find((module) => module?.exports === library)?.filename ?? null;
}

interface ProcessReport {
  header: { glibcVersionRuntime?: string };
  sharedObjects: string[];
}

function processReport(): ProcessReport {
  // Network addresses would be looked up by name, which may take long.
  Object.assign(process.report, { excludeNetwork: true });
  return process.report.getReport() as unknown as ProcessReport;
}

function examineThreads(info: CpuInfo | NoDeviceInfo): Threads {
  const processors = os.availableParallelism();
  const quota = processorQuota(readText);
  const because =
    info.backend === 'cpu' && !native().cpuInfo().threads
      ? 'calling thread only'
      : fromEnvironment(process.env) !== undefined
        ? 'environment'
        : Math.ceil(quota) < processors
          ? 'quota'
          : 'processors';
  return { byDefault: info.threads, because, processors, quota: quota === Infinity ? null : quota };
}

function variables(): Record<string, string> {
  const read = /^(SOFTMAX_|OMP_|GOMP_|KMP_|CUDA_|NVIDIA_|LD_(PRELOAD|LIBRARY_PATH)$|PREBUILDS_ONLY$)/;
  const set = Object.entries(process.env).filter(([name]) => read.test(name));
  return Object.fromEntries(set.toSorted(([a], [b]) => (a < b ? -1 : 1))) as Record<string, string>;
}

function problemsOf({ library, selfTests, environment, instructionSet }: Examined): Problem[] {
  if (!library.loaded) {
    const forced = environment['SOFTMAX_NATIVE_ISA'];
    // What keeps a library from being loaded says itself what to do.
    const remedies = library.reason?.includes('SOFTMAX_NATIVE_ISA')
      ? [`Unset SOFTMAX_NATIVE_ISA, which is '${forced}': the best instruction set is then chosen.`]
      : [];
    return [{ what: String(library.reason), remedies }];
  }
  const problems: Problem[] = [];
  for (const { device, results, differing, failure } of selfTests) {
    const onCpu = device === 'cpu';
    const avoid = onCpu
      ? instructionSet.used === 'scalar'
        ? []
        : ['Try SOFTMAX_NATIVE_ISA=scalar, which shows whether one instruction set alone is affected.']
      : ["Until then compute on the CPU: SOFTMAX_NATIVE_DEVICE=cpu, or the option device: 'cpu'."];
    if (differing.length > 0) {
      problems.push({
        what:
          `On ${device} ${differing.length} of ${results} results do not have the bits that they should have: ` +
          `${differing.map(({ name }) => name).join('; ')}.`,
        remedies: [
          'The library may be that of another version, as of an older build: install the package again, or build it again from source (npx cmake-js@8 rebuild -d node_modules/softmax-native), and unset SOFTMAX_NATIVE_LIBRARY.',
          'If it was built from source: without options that relax floating-point arithmetic, such as -ffast-math in CXXFLAGS.',
          ...avoid,
          'If it stays, the compiler or the hardware computes wrongly: report it, with what `npx softmax-native doctor --json` prints.',
        ],
      });
    }
    if (failure !== undefined) {
      problems.push({
        what: `The self-test on ${device} failed: ${failure}`,
        remedies: onCpu
          ? ['Report it, with what `npx softmax-native doctor --json` prints.']
          : [
              'Look with nvidia-smi whether the GPU works, and has memory that other processes do not hold.',
              ...avoid,
            ],
      });
    }
  }
  const refused = refusedDefault();
  if (refused !== undefined) {
    problems.push({
      what: `Every call that does not name a device throws: ${refused}`,
      remedies: [`Unset SOFTMAX_NATIVE_DEVICE, or set it to 'auto' or 'cpu'.`],
    });
  }
  return problems;
}

/** Why the device of SOFTMAX_NATIVE_DEVICE is none that calls can use. */
function refusedDefault(): string | undefined {
  try {
    readDevice(undefined);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function notesOf({ library, instructionSet, threads, openMp, cuda, environment }: Examined): string[] {
  if (!library.loaded) return [];
  const notes: string[] = [];
  const { used, available } = instructionSet;
  const best = available.at(-1);
  if (used !== best) {
    notes.push(`SOFTMAX_NATIVE_ISA makes calls use ${used}; ${best}, the best here, is faster.`);
  } else if (used === 'scalar') {
    notes.push(
      'This processor has none of the instruction sets that the library is written for: calls take up to 50 times as long as with AVX-512.',
    );
  }
  const asked = environment['OMP_NUM_THREADS'];
  if (asked !== undefined && fromEnvironment(environment) === undefined) {
    notes.push(`OMP_NUM_THREADS is '${asked}', which is no positive integer, and is ignored.`);
  }
  const usable = Math.min(threads.processors, Math.ceil(threads.quota ?? Infinity));
  if (threads.because === 'calling thread only') {
    notes.push(
      'Calls use the calling thread only: the library was built without OpenMP, or another library had loaded OpenMP before and OMP_WAIT_POLICY is not set. Set OMP_WAIT_POLICY=passive where the program is started.',
    );
  } else if (threads.byDefault > usable) {
    notes.push(
      `Calls use ${threads.byDefault} threads on ${counted(usable, 'processor')}, so that threads wait for each other: unset OMP_NUM_THREADS.`,
    );
  } else if (threads.byDefault === 1 && threads.because === 'processors') {
    notes.push(
      'Calls use one thread, as the process may use one processor only (its affinity mask: taskset, a cpuset of the container).',
    );
  }
  const limit = Number(environment['OMP_THREAD_LIMIT']);
  if (limit >= 1 && limit < threads.byDefault) {
    notes.push(`OMP_THREAD_LIMIT lets a call use ${counted(limit, 'thread')} only.`);
  }
  if (openMp.idleThreads === 'spin') {
    notes.push(
      'OMP_WAIT_POLICY=active keeps processors busy after each call: good for calls that follow each other closely, bad for all else on this machine.',
    );
  }
  if (cuda.available) {
    notes.push(
      `'auto' computes arrays in ordinary memory on the CPU nearly always, and those of fewer than ${leastElementsForGpu} elements always, as the way to a GPU and back takes longer than the CPU does. Data that stays on the GPU (cudaDevice().tensor) is computed there.`,
    );
    if (cuda.auto.failure !== undefined) {
      notes.push(`'auto' does not use the GPU, or not with measured costs: ${cuda.auto.failure}`);
    }
  }
  return notes;
}

/** 1 thread, 2 threads. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
