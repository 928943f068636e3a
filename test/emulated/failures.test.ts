// Every runtime call of every operation fails once. Each time the library throws a CudaError that says which error it
// was, or carries on where the call did not matter; it has leaked nothing, and goes on computing, on the GPU where that is
// still there and on the CPU in any case.
import { isDeepStrictEqual } from 'node:util';
import { beforeEach, describe, expect, it } from 'vitest';
import type { DeviceTensor, Dtype } from '../../lib/index.ts';
import { byName } from '../support/by-name.ts';
import {
  clear,
  emulator,
  errors,
  findDevicesAnew,
  forgetDevices,
  libraryOn,
  nothingLive,
  type ErrorName,
  type Library,
} from './machine.ts';

type Result = readonly (Float32Array | Float64Array | Int32Array)[];

interface Operation {
  name: string;
  run: (library: Library) => Result | Promise<Result>;
  /** The same on the CPU. */
  expected: (library: Library) => Result;
}

const shape = [5, 300];
const x = Float32Array.from({ length: 1500 }, (_, i) => 4 * Math.sin(i * i));
const wide = Float64Array.from(x);
// Three pieces of at least 1 MB, of a shape that the emulated device is quick with.
const manyShape = [525, 1024];
const many = Float32Array.from({ length: 525 * 1024 }, (_, i) => (i * 7919) % 13);
const severalShape = [66, 64];
const several = Float64Array.from(many.subarray(0, 66 * 64));
const jacobianShape = [4, 37];
const few = x.subarray(0, 4 * 37);
let pinned: Float32Array | undefined;
const kept: Float64Array[] = []; // as the garbage collector would free their memory at any time
const onCpu = { device: 'cpu' } as const;
const onGpu = { device: 'cuda' } as const;

/** Calls `use` with a tensor, and disposes of it and of the tensors that it returns. */
function withTensor(
  { cudaDevice }: Library,
  data: Float32Array,
  sizes: number[],
  use: (tensor: DeviceTensor<'float32'>) => DeviceTensor<Dtype>[],
): Result {
  const tensor = cudaDevice().tensor(data, { shape: sizes });
  let made: DeviceTensor<Dtype>[] = [];
  try {
    made = use(tensor);
    return made.map((result) => result.dataSync());
  } finally {
    for (const each of [tensor, ...made]) each.dispose();
  }
}

const operations: Operation[] = [
  {
    name: 'softmax of an array',
    run: ({ softmax }) => [softmax(x, { shape, ...onGpu })],
    expected: ({ softmax }) => [softmax(x, { shape, ...onCpu })],
  },
  {
    name: 'softmax along the first axis',
    run: ({ softmax }) => [softmax(wide, { shape, axis: 0, ...onGpu })],
    expected: ({ softmax }) => [softmax(wide, { shape, axis: 0, ...onCpu })],
  },
  {
    name: 'softmax in pieces',
    run: ({ softmax }) => [softmax(many, { shape: manyShape, ...onGpu })],
    expected: ({ softmax }) => [softmax(many, { shape: manyShape, ...onCpu })],
  },
  {
    name: 'softmax of a page-locked array',
    run({ softmax }) {
      pinned!.set(x);
      softmax(pinned!, { shape, out: pinned!, ...onGpu });
      return [pinned!.slice()];
    },
    expected: ({ softmax }) => [softmax(x, { shape, ...onCpu })],
  },
  {
    name: 'rowMax of an array',
    run({ rowMax }) {
      const { max, argmax } = rowMax(wide, { shape, ...onGpu });
      return [max, argmax];
    },
    expected({ rowMax }) {
      const { max, argmax } = rowMax(wide, { shape, ...onCpu });
      return [max, argmax];
    },
  },
  {
    name: 'softmaxJacobian of an array',
    run: ({ softmaxJacobian }) => [softmaxJacobian(few, { shape: jacobianShape, ...onGpu })],
    expected: ({ softmaxJacobian }) => [softmaxJacobian(few, { shape: jacobianShape, ...onCpu })],
  },
  {
    name: 'softmaxJacobian in pieces',
    run: ({ softmaxJacobian }) => [softmaxJacobian(several, { shape: severalShape, ...onGpu })],
    expected: ({ softmaxJacobian }) => [softmaxJacobian(several, { shape: severalShape, ...onCpu })],
  },
  {
    name: 'softmax of a tensor',
    run: (library) => withTensor(library, x, shape, (tensor) => [library.softmax(tensor)]),
    expected: ({ softmax }) => [softmax(x, { shape, ...onCpu })],
  },
  {
    name: 'rowMax of a tensor',
    run: (library) =>
      withTensor(library, x, shape, (tensor) => {
        const { max, argmax } = library.rowMax(tensor);
        return [max, argmax];
      }),
    expected({ rowMax }) {
      const { max, argmax } = rowMax(x, { shape, ...onCpu });
      return [max, argmax];
    },
  },
  {
    name: 'softmaxJacobian of a tensor',
    run: (library) => withTensor(library, few, jacobianShape, (tensor) => [library.softmaxJacobian(tensor)]),
    expected: ({ softmaxJacobian }) => [softmaxJacobian(few, { shape: jacobianShape, ...onCpu })],
  },
  {
    name: 'data of a tensor',
    async run({ cudaDevice }) {
      const tensor = cudaDevice().tensor(x);
      try {
        return [await tensor.data()];
      } finally {
        tensor.dispose();
      }
    },
    expected: () => [x],
  },
  {
    name: 'synchronize',
    async run({ cudaDevice }) {
      await cudaDevice().synchronize();
      return [];
    },
    expected: () => [],
  },
];

const shortOperation = operations[0]!;

function thrownBy(call: () => unknown): Error | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

/** What a call throws, or what its promise is rejected with. */
async function errorOf(call: () => unknown): Promise<Error | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

/** What an operation gave: its result, or the error that it threw. */
async function outcomeOf(operation: Operation, library: Library): Promise<Result | Error> {
  try {
    return await operation.run(library);
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}

function expectSame(outcome: Result | Error, expected: Result, context: string): void {
  if (outcome instanceof Error) throw new Error(`${context}: ${outcome.message}`, { cause: outcome });
  const same =
    outcome.length === expected.length && outcome.every((array, i) => isDeepStrictEqual(array, expected[i]));
  expect(same, context).toBe(true);
}

function expectCudaError(library: Library, thrown: Error, name: ErrorName): void {
  expect(thrown).toBeInstanceOf(library.CudaError);
  expect(thrown).toMatchObject({ code: 'ERR_CUDA', cudaCode: errors[name], cudaName: name });
  expect(thrown.message).toContain(`failed: ${name} (${errors[name]}): `);
}

let library: Library;
beforeEach(async () => {
  library = await libraryOn();
  pinned ??= library.allocPinned('float32', x.length);
});

describe.each(byName(operations))('%s', (_name, operation) => {
  // The order of the pieces does not depend on the error, and takes long to go through.
  const names: ErrorName[] = ['cudaErrorUnknown', 'cudaErrorMemoryAllocation'];
  it.each(operation.name.endsWith('in pieces') ? names.slice(0, 1) : names)(
    'when each of its calls gives %s once',
    async (name) => {
      const expected = operation.expected(library);
      const ofShort = shortOperation.expected(library);
      let failures = 0;
      findDevicesAnew();
      const before = emulator.live();
      for (let nth = 1; ; nth++) {
        emulator.inject({ call: '*', nth, error: errors[name] });
        const outcome = await outcomeOf(operation, library);
        const ended = emulator.pending() > 0;
        clear();
        if (outcome instanceof Error) {
          failures++;
          expectCudaError(library, outcome, name);
        } else {
          expectSame(outcome, expected, `after call ${nth} has failed`);
        }

        // What has failed once works at the next call; long operations are followed by a short one two times of three.
        if (operation.name.endsWith('in pieces') && nth % 3 !== 0) {
          expectSame(
            await outcomeOf(shortOperation, library),
            ofShort,
            `a short one, after call ${nth} has failed`,
          );
        } else {
          expectSame(await outcomeOf(operation, library), expected, `again, after call ${nth} has failed`);
        }
        expect(emulator.live().device, `after call ${nth} has failed`).toEqual(nothingLive.device);
        findDevicesAnew();
        expect(emulator.live(), `after call ${nth} has failed`).toEqual(before);
        if (ended) break;
      }
      expect(failures).toBeGreaterThan(3);
    },
  );

  it('when the device is lost at each of its calls', async () => {
    const name = 'cudaErrorLaunchFailure';
    const expected = operation.expected(library);
    for (let nth = 1, ended = false; !ended; nth++) {
      library = await libraryOn();
      findDevicesAnew();
      const before = emulator.live();
      emulator.inject({ call: '*', nth, error: errors[name], sticky: true });
      const outcome = await outcomeOf(operation, library);
      ended = emulator.pending() > 0;
      if (outcome instanceof Error) expectCudaError(library, outcome, name);
      else expectSame(outcome, expected, `with a device that is lost at call ${nth}`);

      // From now on the GPU is refused, with the reason; the CPU computes.
      if (outcome instanceof Error) {
        const again = await outcomeOf(operation, library);
        expect(again).toBeInstanceOf(Error);
        expect((again as Error).message).toContain(name);
      }
      expectSame(operation.expected(library), expected, 'on the CPU');
      forgetDevices();
      expect(emulator.live(), `after the loss at call ${nth}`).toEqual(before);
    }
  });
});

describe('allocPinned', () => {
  it('when each of its calls fails once', () => {
    findDevicesAnew();
    let before = emulator.live();
    let failures = 0;
    for (let nth = 1; ; nth++) {
      emulator.inject({ call: '*', nth, error: errors.cudaErrorMemoryAllocation });
      const outcome = thrownBy(() => kept.push(library.allocPinned('float64', 10)));
      const ended = emulator.pending() > 0;
      clear();
      if (ended) break;
      findDevicesAnew();
      if (outcome === undefined) {
        // What is only asked in order to leave things as they were is no reason to refuse.
        expect(kept.at(-1)).toEqual(new Float64Array(10));
        before = { ...before, pinned: emulator.live().pinned };
        continue;
      }
      failures++;
      expectCudaError(library, outcome, 'cudaErrorMemoryAllocation');
      expect(emulator.live(), `after call ${nth} has failed`).toEqual(before);
    }
    expect(failures).toBeGreaterThan(1);
  });
});

describe('work that fails when it runs', () => {
  it.each(['kernel', 'copy'])('a %s', async (call) => {
    const name = 'cudaErrorIllegalAddress';
    for (const operation of operations) {
      if (operation.name === 'synchronize' || (call === 'kernel' && operation.name === 'data of a tensor'))
        continue;
      library = await libraryOn();
      const before = emulator.live();
      const expected = operation.expected(library);
      emulator.inject({ call, error: errors[name] });
      const outcome = await outcomeOf(operation, library);
      expect(emulator.pending(), operation.name).toBe(0);
      expect(outcome, operation.name).toBeInstanceOf(Error);
      expectCudaError(library, outcome as Error, name);
      expect(library.deviceInfo().cuda, operation.name).toMatchObject({
        available: false,
        reason: expect.stringContaining(name) as string,
      });
      expectSame(operation.expected(library), expected, 'on the CPU');
      forgetDevices();
      expect(emulator.live(), operation.name).toEqual(before);
    }
  });
});

describe('a device that was lost', () => {
  it('refuses its tensors, with what it was lost by, and leaves nothing of them', async () => {
    const before = emulator.live();
    const device = library.cudaDevice();
    const [tensor, other] = [device.tensor(x, { shape }), device.tensor(few)];
    emulator.inject({ call: 'kernel', error: errors.cudaErrorIllegalAddress });
    const result = library.softmax(tensor);
    expectCudaError(
      library,
      thrownBy(() => result.dataSync())!,
      'cudaErrorIllegalAddress',
    );
    const uses: (() => unknown)[] = [
      () => library.softmax(other),
      () => library.rowMax(other),
      () => library.softmaxJacobian(other),
      () => device.tensor(few),
      () => device.empty([3]),
      () => other.dataSync(),
      () => other.data(),
      () => device.synchronize(),
    ];
    for (const use of uses) {
      const outcome = await errorOf(use);
      expectCudaError(library, outcome!, 'cudaErrorIllegalAddress');
      expect(outcome!.message, String(use)).toMatch(/^Using CUDA device 0 again after /);
    }
    for (const each of [tensor, other, result]) each.dispose();
    expect(emulator.live().device).toEqual(nothingLive.device);
    forgetDevices();
    expect(emulator.live()).toEqual(before);
  });
});

describe('a device that is full', () => {
  it('refuses tensors with cudaErrorMemoryAllocation, and works again when there is room', async () => {
    library = await libraryOn({ memory: 1 << 20 });
    const device = library.cudaDevice();
    const first = device.empty([200_000]);
    expectCudaError(
      library,
      thrownBy(() => device.empty([200_000]))!,
      'cudaErrorMemoryAllocation',
    );
    first.dispose();
    const second = device.tensor(x, { shape });
    const y = library.softmax(second);
    expect(y.dataSync()).toEqual(library.softmax(x, { shape, ...onCpu }));
    second.dispose();
    y.dispose();
  });

  it('gives back what a pool kept for others', async () => {
    library = await libraryOn({ memory: 1 << 20 });
    const device = library.cudaDevice();
    for (let i = 0; i < 10; i++) device.empty([100_000 + 10_000 * i]).dispose();
    expect(emulator.live().device.count).toBe(0);
    const all = device.empty([250_000]);
    expect(emulator.live().device).toEqual({ count: 1, bytes: 1_000_000 });
    all.dispose();
  });
});
