// The controls of the emulated machine, and a library that has not met it yet.
import { afterAll, vi } from 'vitest';
import { native, type NativeCuda } from '../../lib/binding.ts';
import type * as library from '../../lib/index.ts';

export type Library = typeof library;

export interface Live {
  device: { count: number; bytes: number };
  pinned: { count: number; bytes: number };
  streams: number;
  events: number;
}

/** What test/emulator/control.cc exports. */
export interface Emulator {
  /**
   * Sets what the machine is; what is left out stays. Of memory, multiprocessors, the largest cluster and the generation
   * of the kernels' PTX, 0 is what the real GPU has. The compute mode is CUDA's number: 0 for the default, 2 for
   * 'prohibited'.
   */
  configure(settings: {
    device?: string;
    devices?: number;
    seed?: number;
    driver?: 'ok' | 'none' | 'old';
    computeMode?: number;
    memory?: number;
    multiprocessors?: number;
    cluster?: number;
    ptx?: number;
  }): void;
  /**
   * The nth call of a runtime function, of any for '*', returns this error; a sticky one loses the device. 'kernel' and
   * 'copy' are kernels and copies that fail when they run.
   */
  inject(injection: { call: string; nth?: number; error: number; sticky?: boolean }): void;
  /** The next call of a runtime function takes so long, for the thread that makes it. */
  delay(call: string, milliseconds: number): void;
  /** The injections whose call has not come. */
  pending(): number;
  /** What cudaPeekAtLastError gives in this thread: an error that a call has left to whoever asks next. */
  lastError(): number;
  /** Takes back injections, mends lost devices, forgets findings and launches. */
  clear(): void;
  findings(): string[];
  live(): Live;
  launches(): Record<string, number>;
}

const loaded = native() as unknown as {
  emulator: Emulator;
  cuda: NativeCuda & { forgetDevices(): void; beginAnew(): void; freeMemory(device: number): number };
};
export const { emulator } = loaded;

const architecture = process.env['SOFTMAX_EMULATED_DEVICE'] ?? 'sm_90';

/** The bytes of a GPU's memory that another process could have: neither used nor held for use again. */
export function freeMemory(device = 0): number {
  return loaded.cuda.freeMemory(device);
}

/** Ends what the library has on the GPUs, as the end of a thread does, and lets it look for devices anew. */
export function forgetDevices(): void {
  loaded.cuda.forgetDevices();
}

/** Ends what this thread has on the GPUs, as a program does that embeds Node.js and ends one environment of several. */
export function beginAnew(): void {
  loaded.cuda.beginAnew();
}

/** As forgetDevices, and looks for them, so that this is behind whoever counts the calls that follow. */
export function findDevicesAnew(): void {
  forgetDevices();
  loaded.cuda.info();
}

/** The library as a new process finds it, on such a machine. */
export async function libraryOn(settings: Parameters<Emulator['configure']>[0] = {}): Promise<Library> {
  forgetDevices();
  clear();
  emulator.configure({
    device: architecture,
    devices: 1,
    seed: 1,
    driver: 'ok',
    computeMode: 0,
    memory: 0,
    multiprocessors: 0,
    cluster: 0,
    ptx: 0,
    ...settings,
  });
  vi.resetModules();
  return await import('../../lib/index.ts');
}

export const nothingLive: Live = {
  device: { count: 0, bytes: 0 },
  pinned: { count: 0, bytes: 0 },
  streams: 0,
  events: 0,
};

/** Errors of CUDA that tests inject, by name. */
export const errors = {
  cudaErrorMemoryAllocation: 2,
  cudaErrorNoDevice: 100,
  cudaErrorIllegalAddress: 700,
  cudaErrorLaunchFailure: 719,
  cudaErrorSystemNotReady: 802,
  cudaErrorUnknown: 999,
} as const;
export type ErrorName = keyof typeof errors;

/** Takes back injections and mends what they broke. What the machine found until then is an error of the test. */
export function clear(): void {
  const findings = emulator.findings();
  emulator.clear();
  if (findings.length > 0) throw new Error(`the emulated device found:\n${findings.join('\n')}`);
}
afterAll(clear);
