// Hostile input, for fuzz tests: calls with arrays in every kind of memory, and options, shapes and objects whose getters
// detach, resize or overwrite that memory, throw, or would say something else when read again. A `Scenario` is plain
// data, which fast-check can print and shrink; `prepare` makes the values of one call from it.
import { runInNewContext } from 'node:vm';
import * as fc from 'fast-check';
import { randomFrom } from './random.ts';
import type { FloatArray, FormatName } from './ulp.ts';

export type AnyArray = FloatArray | Int32Array;
type ArrayType = { new (buffer: ArrayBufferLike, offset?: number, length?: number): AnyArray };

/** Of the arrays' buffers: fixed, resizable, shared, growable, of another realm; or of an array of a subclass. */
const KINDS = ['fixed', 'resizable', 'shared', 'growable', 'realm', 'subclass'] as const;
type Kind = (typeof KINDS)[number];

export interface Memory {
  readonly kind: Kind;
  /** Multiples of 8 bytes around the array, which nobody may write. */
  readonly before: number;
  readonly after: number;
  /** The array has no length of its own, where the buffer can change its size and the array ends with it. */
  readonly tracking: boolean;
}

const FORMS = ['array', 'numbers', 'rows', 'shape', 'dims'] as const;
const OUTS = ['none', 'fresh', 'longer', 'x', 'beside', 'overlapping', 'short', 'wrong'] as const;
const LOGITS = ['ordinary', 'wide', 'few', 'special', 'bits'] as const;

/** What a getter does before it answers. */
const ACTIONS = ['detach', 'shrink', 'grow', 'scribble', 'throw', 'call', 'collect'] as const;
const TARGETS = ['x', 'out'] as const;
/** Whose getter acts. `size` and `number` are the first size of a shape and the first number of plain logits. */
const TRIGGERS = [
  'shape', 'axis', 'out', 'threads', 'device', 'keepdims', 'data', 'own shape', 'size', 'number', 'result',
] as const; // prettier-ignore
type Trigger = (typeof TRIGGERS)[number];

export interface Act {
  readonly when: Trigger;
  readonly action: (typeof ACTIONS)[number];
  readonly target: (typeof TARGETS)[number];
}

export interface Scenario {
  readonly format: FormatName;
  readonly shape: readonly number[];
  readonly axis: number | undefined;
  readonly form: (typeof FORMS)[number];
  /** Whether an x that has a shape is called with the option as well. */
  readonly repeated: boolean;
  readonly logits: { readonly kind: (typeof LOGITS)[number]; readonly seed: number };
  readonly x: Memory;
  readonly out: (typeof OUTS)[number];
  readonly outMemory: Memory;
  readonly threads: number | undefined;
  readonly keepdims: boolean | undefined;
  readonly device: string | undefined;
  /** Objects and shapes are proxies of themselves. */
  readonly proxied: boolean;
  readonly acts: readonly Act[];
}

const memory: fc.Arbitrary<Memory> = fc.record({
  kind: fc.constantFrom(...KINDS),
  before: fc.constantFrom(0, 1, 3, 8),
  after: fc.constantFrom(0, 1, 4, 9),
  tracking: fc.boolean(),
});

/** Up to four sizes whose product is small, and rows that are longer than what is copied or done side by side. */
const shapes: fc.Arbitrary<number[]> = fc.oneof(
  { weight: 6, arbitrary: fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 4 }) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 300 })).map((s) => [...s]),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 })).map((s) => [...s]),
  },
  { weight: 1, arbitrary: fc.integer({ min: 1000, max: 2500 }).map((k) => [k]) },
);

/** @param hostile - whether getters act; without them it is known of each call what must come of it */
export function scenarios(hostile: boolean): fc.Arbitrary<Scenario> {
  const act: fc.Arbitrary<Act> = fc.record({
    when: fc.constantFrom(...TRIGGERS),
    action: fc.constantFrom(...ACTIONS),
    target: fc.constantFrom(...TARGETS),
  });
  return shapes.chain((shape) =>
    fc.record({
      format: fc.constantFrom('float32', 'float64'),
      shape: fc.constant(shape),
      axis: fc.oneof(fc.constant(undefined), fc.integer({ min: -shape.length, max: shape.length - 1 })),
      form: fc.constantFrom(...FORMS),
      repeated: fc.boolean(),
      logits: fc.record({ kind: fc.constantFrom(...LOGITS), seed: fc.nat() }),
      x: memory,
      out: fc.constantFrom(...OUTS),
      outMemory: memory,
      threads: fc.constantFrom(undefined, 1, 2, 3),
      keepdims: fc.constantFrom(undefined, false, true),
      device: fc.constantFrom(undefined, 'auto', 'cpu'),
      proxied: fc.boolean(),
      acts: hostile ? fc.array(act, { minLength: 1, maxLength: 3 }) : fc.constant([]),
    }),
  );
}

/** The error that getters throw. */
export const planted = new Error('thrown by a getter of the fuzz test');

const arrayTypes = { float32: Float32Array, float64: Float64Array, int32: Int32Array };
class Subclass32 extends Float32Array {}
class Subclass64 extends Float64Array {}
class SubclassInt extends Int32Array {}
const subclasses = { float32: Subclass32, float64: Subclass64, int32: SubclassInt };
const otherRealm = runInNewContext(
  '({ float32: Float32Array, float64: Float64Array, int32: Int32Array, ArrayBuffer })',
) as typeof arrayTypes & { ArrayBuffer: ArrayBufferConstructor };

type Resizable = { resize?: (bytes: number) => void; grow?: (bytes: number) => void };
type WithMost<B> = new (bytes: number, options: { maxByteLength: number }) => B;

/** A buffer that can grow by another 64 bytes where it can at all. */
function newBuffer(kind: Kind, bytes: number): ArrayBufferLike {
  const most = { maxByteLength: bytes + 64 };
  switch (kind) {
    case 'resizable':
      return new (ArrayBuffer as unknown as WithMost<ArrayBuffer>)(bytes, most);
    case 'growable':
      return new (SharedArrayBuffer as unknown as WithMost<SharedArrayBuffer>)(bytes, most);
    case 'shared':
      return new SharedArrayBuffer(bytes);
    case 'realm':
      return new otherRealm.ArrayBuffer(bytes);
    default:
      return new ArrayBuffer(bytes);
  }
}

/** An array of `length` elements with guard zones around it; `room` bytes more are in the second one. */
function newArray(
  type: keyof typeof arrayTypes,
  { kind, before, after, tracking }: Memory,
  length: number,
  room = 0,
) {
  const size = type === 'float64' ? 8 : 4;
  const isLast = tracking && (kind === 'resizable' || kind === 'growable') && room === 0;
  const bytes = length * size;
  const buffer = newBuffer(kind, before * 8 + bytes + (isLast ? 0 : after * 8 + room));
  new Uint8Array(buffer).fill(0xa5);
  const types = kind === 'realm' ? otherRealm : kind === 'subclass' ? subclasses : arrayTypes;
  const Type = types[type] as ArrayType;
  return isLast ? new Type(buffer, before * 8) : new Type(buffer, before * 8, length);
}

/** A logit of a kind; stored in a float32 array it is rounded. */
function logitOf(kind: Scenario['logits']['kind'], random: ReturnType<typeof randomFrom>): number {
  switch (kind) {
    case 'ordinary':
      return 5 * random.gaussian();
    case 'wide':
      return random.gaussian() * 10 ** (random.below(12) - 3);
    case 'few':
      return random.below(3) - 1;
    case 'special': {
      const values = [-Infinity, -Infinity, -0, 0, 1, -1e30, 3e38, -3e38, 1e-40, 5e-324, 88, -104, -745];
      const rare = [NaN, Infinity];
      return random.below(60) === 0 ? rare[random.below(2)]! : values[random.below(values.length)]!;
    }
    case 'bits': {
      const bits = new DataView(new ArrayBuffer(8));
      bits.setUint32(0, random.uint32());
      bits.setUint32(4, random.uint32());
      return random.below(2) === 0 ? bits.getFloat32(0) : bits.getFloat64(0);
    }
  }
}

function isShared(buffer: ArrayBufferLike): buffer is SharedArrayBuffer {
  return buffer instanceof SharedArrayBuffer;
}

/** The memory that a call can see, as it was when JavaScript ran last. */
export class Watch {
  readonly #buffers = new Set<ArrayBufferLike>();
  readonly #seen = new Map<ArrayBufferLike, Uint8Array>();

  add(array: AnyArray): void {
    this.#buffers.add(array.buffer);
  }

  observe(): void {
    for (const buffer of this.#buffers) this.#seen.set(buffer, bytesOf(buffer).slice());
  }

  /** What an array held at the last observation. */
  contents(array: AnyArray, byteOffset: number, length: number): FloatArray {
    const bytes = this.#seen
      .get(array.buffer)!
      .slice(byteOffset, byteOffset + length * array.BYTES_PER_ELEMENT);
    return array.BYTES_PER_ELEMENT === 4 ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
  }

  /** Where a byte differs from the last observation, outside the first elements of these arrays. */
  firstChange(written: readonly (readonly [array: AnyArray, length: number])[]): string | undefined {
    for (const buffer of this.#buffers) {
      const ranges = written
        .filter(([array]) => array.buffer === buffer)
        .map(
          ([array, length]) =>
            [array.byteOffset, array.byteOffset + length * array.BYTES_PER_ELEMENT] as const,
        );
      const before = this.#seen.get(buffer)!;
      const now = bytesOf(buffer);
      if (now.length !== before.length) return `a buffer of ${before.length} bytes has ${now.length} now`;
      const at = now.findIndex(
        (byte, i) => byte !== before[i] && !ranges.some(([begin, end]) => i >= begin && i < end),
      );
      if (at >= 0)
        return `byte ${at} of ${now.length} was ${before[at]}, is ${now[at]}; written: ${ranges.join('; ')}`;
    }
    return undefined;
  }
}

function bytesOf(buffer: ArrayBufferLike): Uint8Array {
  try {
    return new Uint8Array(buffer);
  } catch {
    return new Uint8Array(0); // detached
  }
}

/** How large an operation's results are, and of which kind. */
export interface Results {
  /** The elements of the first result, of x's type. */
  readonly length: number;
  /** `out` is { max, argmax }: also so many int32. */
  readonly isPair: boolean;
  /** `out` may be x. */
  readonly mayBeInPlace: boolean;
}

/** A call that is ready to be made. */
export interface Prepared {
  readonly x: unknown;
  readonly options: unknown;
  readonly watch: Watch;
  /** The logits as the call read them; undefined where it did not, or read memory that was gone. */
  logits(): FloatArray | undefined;
  /** What `out` is, and its arrays in the order of the results. */
  readonly out: unknown;
  readonly targets: readonly AnyArray[];
  /** The code of the error that the call must throw, undefined where it must not. For scenarios without acts. */
  readonly refusal: string | undefined;
  /** What was read more often than once. */
  readonly readAgain: readonly string[];
}

/** @param again - an innocent call of the library, for getters to make */
export function prepare(scenario: Scenario, results: Results, again: () => void): Prepared {
  const { format, shape, form } = scenario;
  const elements = shape.reduce((product, size) => product * size, 1);
  const random = randomFrom(scenario.logits.seed);
  const isPlain = form === 'numbers' || form === 'rows';
  const type = isPlain ? 'float64' : format;
  const size = type === 'float64' ? 8 : 4;
  const room = (results.length + 2) * 8;
  const sharesBuffer = !isPlain && (scenario.out === 'beside' || scenario.out === 'overlapping');
  const data = newArray(type, scenario.x, elements, sharesBuffer ? room : 0) as FloatArray;
  for (let i = 0; i < elements; i++) data[i] = logitOf(scenario.logits.kind, random);
  const own = { byteOffset: data.byteOffset, length: data.length };

  const watch = new Watch();
  watch.add(data);
  const targets = targetsFor(scenario, results, data, type);
  for (const target of targets) watch.add(target);

  // Getters: each answers once, acts before it does, and leaves what it sees behind.
  const readAgain: string[] = [];
  const act = (when: Trigger): void => {
    try {
      for (const { when: whose, action, target } of scenario.acts) {
        if (whose === when) perform(action, target === 'x' ? data : (targets[0] ?? data), again);
      }
    } finally {
      watch.observe();
    }
  };
  const getter = (value: unknown, when: Trigger, name: string): PropertyDescriptor => {
    let reads = 0;
    return {
      enumerable: true,
      configurable: true,
      get: () => {
        // Whether x is numbers or rows its first element tells, before it is read with the others.
        if (++reads > 1 && name !== 'x[0]') {
          readAgain.push(name);
          return Symbol('read again');
        }
        act(when);
        return value;
      },
    };
  };
  const wrapped = <Value extends object>(value: Value): Value =>
    scenario.proxied ? new Proxy(value, {}) : value;
  const list = (values: readonly unknown[], when: Trigger, name: string): unknown[] => {
    const array: unknown[] = [...values];
    for (const [i, value] of values.entries()) {
      // Thousands of accessors would take longer than the call; the first and the last are enough.
      if (i === 0 || i === values.length - 1 || values.length < 8)
        Object.defineProperty(array, i, getter(value, when, `${name}[${i}]`));
    }
    return wrapped(array);
  };
  const object = (properties: Record<string, [unknown, Trigger]>, name: string): object =>
    wrapped(
      Object.defineProperties(
        {},
        Object.fromEntries(
          Object.entries(properties).map(([key, [value, when]]) => [
            key,
            getter(value, when, `${name}.${key}`),
          ]),
        ),
      ),
    );

  const isRows = form === 'rows' && shape.length === 2 && shape[0]! > 0;
  const isObject = form === 'shape' || form === 'dims';
  let x: unknown = data;
  if (isRows) {
    const k = shape[1]!;
    const values = Array.from(data);
    x = list(
      Array.from({ length: shape[0]! }, (_, row) =>
        list(values.slice(row * k, (row + 1) * k), 'number', `x[${row}]`),
      ),
      'number',
      'x',
    );
  } else if (isPlain) {
    x = list(Array.from(data), 'number', 'x');
  } else if (isObject) {
    x = object({ data: [data, 'data'], [form]: [list(shape, 'size', 'x.shape'), 'own shape'] }, 'x');
  }

  const needsShape = !isRows && !isObject;
  let out: unknown;
  if (scenario.out !== 'none') {
    if (results.isPair) out = object({ max: [targets[0], 'result'], argmax: [targets[1], 'result'] }, 'out');
    else if (isObject && scenario.logits.seed % 2 === 0)
      out = object({ data: [targets[0], 'result'] }, 'out');
    else [out] = targets;
  }
  const options = object(
    {
      ...((needsShape || scenario.repeated) && { shape: [list(shape, 'size', 'shape'), 'shape'] }),
      axis: [scenario.axis, 'axis'],
      out: [out, 'out'],
      threads: [scenario.threads, 'threads'],
      device: [scenario.device, 'device'],
      ...(results.isPair && { keepdims: [scenario.keepdims, 'keepdims'] }),
    },
    'options',
  );
  // Plain numbers cannot change after they are made.
  const numbers = isPlain ? data.slice() : undefined;
  watch.observe();
  return {
    x,
    options,
    watch,
    out,
    targets,
    readAgain,
    refusal: refusalOf(scenario, results, isPlain ? undefined : data, targets, type, elements),
    logits: () => {
      if (numbers !== undefined) return numbers;
      if (data.length !== elements) return undefined;
      // An array that tracks its buffer's length may have become longer and the right one again.
      const contents = watch.contents(data, own.byteOffset, elements);
      return contents.byteLength === elements * size ? contents : undefined;
    },
  };
}

function targetsFor(
  scenario: Scenario,
  results: Results,
  data: FloatArray,
  type: 'float32' | 'float64',
): AnyArray[] {
  const { out, outMemory } = scenario;
  if (out === 'none') return [];
  const { length, isPair } = results;
  const first = (): AnyArray => {
    const Type = data.constructor as ArrayType;
    const step = data.BYTES_PER_ELEMENT;
    switch (out) {
      case 'x':
        return data;
      case 'beside':
      case 'overlapping': {
        if (data.buffer.byteLength < data.byteOffset + data.byteLength + length * step + 8) break;
        const end = Math.ceil((data.byteOffset + data.byteLength) / 8) * 8;
        return new Type(data.buffer, out === 'beside' ? end : data.byteOffset + step, length);
      }
      case 'short':
        return newArray(type, outMemory, Math.max(length - 1, 0));
      case 'wrong':
        return newArray(type === 'float32' ? 'float64' : 'float32', outMemory, length);
      case 'longer':
        return newArray(type, outMemory, length + 3);
      default:
    }
    return newArray(type, outMemory, length);
  };
  return isPair ? [first(), newArray('int32', outMemory, length)] : [first()];
}

function refusalOf(
  scenario: Scenario,
  { length, mayBeInPlace }: Results,
  x: FloatArray | undefined,
  targets: readonly AnyArray[],
  type: FormatName,
  elements: number,
): string | undefined {
  const [first] = targets;
  if (first === undefined) return undefined;
  const size = type === 'float64' ? 8 : 4;
  if (scenario.out === 'wrong') return 'ERR_INVALID_ARG_TYPE';
  if (first.length < length) return 'ERR_SHAPE_MISMATCH';
  if (x === undefined || first.buffer !== x.buffer) return undefined;
  const from = first.byteOffset - x.byteOffset;
  if (from === 0 && mayBeInPlace) return undefined;
  const isApart = from >= elements * size || -from >= length * size || length === 0 || elements === 0;
  return isApart ? undefined : 'ERR_OVERLAP';
}

function perform(action: Act['action'], array: AnyArray, again: () => void): void {
  const { buffer } = array;
  const resizable = buffer as ArrayBufferLike & Resizable & { maxByteLength?: number };
  const bytes = buffer.byteLength;
  switch (action) {
    case 'detach':
      if (!isShared(buffer) && bytes > 0) structuredClone(buffer, { transfer: [buffer] });
      break;
    case 'shrink':
      if (!isShared(buffer) && bytes > 0 && (resizable.maxByteLength ?? bytes) > bytes)
        resizable.resize?.(Math.floor(bytes / 2));
      break;
    case 'grow':
      if ((resizable.maxByteLength ?? 0) >= bytes + 8) {
        if (isShared(buffer)) resizable.grow?.(bytes + 8);
        else if (bytes > 0) resizable.resize?.(bytes + 8);
      }
      break;
    case 'scribble':
      if (array.length > 0) array.fill(3, 0, Math.ceil(array.length / 2));
      break;
    case 'throw':
      throw planted;
    case 'call':
      again();
      break;
    case 'collect':
      // Garbage in quantity, so that arrays in the collector's heap move.
      for (let i = 0; i < 200; i++) new Float64Array(8).fill(i);
      break;
  }
}

/** An argument: a value, or what makes one that fast-check could not print. */
export type Argument = { readonly value: unknown } | { readonly make: () => unknown };

export function valueOf(argument: Argument): unknown {
  return 'make' in argument ? argument.make() : argument.value;
}

/** Arguments of every kind: of the standard generator, and hostile ones. */
export const anything: fc.Arbitrary<Argument> = fc.oneof(
  fc
    .anything({
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withNullPrototype: true,
      withObjectString: true,
      withTypedArray: true,
      maxDepth: 2,
      maxKeys: 3,
    })
    .map((value) => ({ value })),
  fc
    .constantFrom<() => unknown>(
      () => Symbol('hostile'),
      () => () => 1,
      () => new DataView(new ArrayBuffer(16)),
      () => new SharedArrayBuffer(16),
      () => new Proxy(Float32Array.of(1, 2), {}),
      () => new Proxy([1, 2], {}),
      () =>
        new Proxy(
          {},
          { get: throwPlanted, has: throwPlanted, ownKeys: throwPlanted, getPrototypeOf: throwPlanted },
        ),
      () => new Proxy([], { get: throwPlanted }),
      () => revoked({}),
      () => revoked([]),
      () => detachedArray(),
      () => Object.defineProperty(Float32Array.of(1, 2), 'length', { value: 8 }),
      () => Object.defineProperty(Float32Array.of(1, 2), 'length', { value: 2 ** 40 }),
      () => Object.defineProperty(Float32Array.of(1, 2), 'length', { get: throwPlanted }),
      () => Object.defineProperty(Float64Array.of(1, 2), 'buffer', { value: undefined }),
      () => Object.setPrototypeOf(Float64Array.of(1, 2), null) as unknown,
      () => Object.defineProperty(Int8Array.of(1, 2), Symbol.toStringTag, { value: Symbol('tag') }),
      () => Object.defineProperty({}, Symbol.toStringTag, { get: throwPlanted }),
      () => runInNewContext('[0, [1, 2]]') as unknown,
      () => runInNewContext('new Float32Array([1, 2])') as unknown,
      () => runInNewContext('new Proxy({}, {})') as unknown,
      () => ({ data: new Float32Array(4), shape: [2, 2], stride: [2, 1] }),
      () => ({ data: new Float32Array(4), dims: [2, 2], offset: 0 }),
      () => ({ data: new Float64Array(4), shape: [-0, 4] }),
      () => ({ toString: throwPlanted, valueOf: throwPlanted, toJSON: throwPlanted }),
      () => [1, 2, 3],
      () => [[1, 2], [3, 4]], // prettier-ignore
      () => [[]],
      () => Object.assign([1], { length: 5 }),
      () => firstOnce([1], undefined),
      () => firstOnce(1, [1]),
      () => 'cuda',
      () => 'cuda:3',
      () => 'cpu',
      () => 'float64',
      () => 2 ** 31,
      () => 2 ** 53,
      () => -0,
      () => NaN,
    )
    .map((make) => ({ make })),
);

/** An array whose first element is something else when it is read again. */
export function firstOnce(first: unknown, later: unknown): unknown[] {
  let reads = 0;
  return Object.defineProperty([0, 2], 0, { get: () => (reads++ === 0 ? first : later) });
}

function throwPlanted(): never {
  throw planted;
}

function revoked(target: object): unknown {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

function detachedArray(): Float32Array {
  const array = new Float32Array(4);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}
