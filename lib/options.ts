// What the options of every function have in common.
import { invalidType, unknownOption } from './errors.ts';
import type { Device } from './placement.ts';
import type { Shape } from './shape.ts';

/** The options that every function has. */
export interface CallOptions {
  /**
   * The sizes of x, row-major; their product is the length of x. Any rank from 1. Without it x is one row, or has the
   * shape that it carries itself, which this option may repeat but not change.
   */
  shape?: Shape | undefined;
  /**
   * The most threads that the call may use. The default is OMP_NUM_THREADS where that is set, else the processors
   * available, or the processor quota of the container where that is less. Results are the same for every number. A
   * call on a GPU has no use for it.
   */
  threads?: number | undefined;
  /**
   * Where to compute: 'cpu'; 'cuda', the first GPU that can be used; 'cuda:1', the second GPU of the machine; or
   * 'auto', the default, which takes a GPU where it is estimated to be faster, the way to it and back counted (see
   * deviceInfo().cuda.auto). Where that GPU fails the CPU computes instead, from then on; only a failure in place,
   * after results have begun to overwrite the logits, is thrown. setDefaultDevice or the environment variable
   * SOFTMAX_NATIVE_DEVICE change the default. Results are the same bits everywhere.
   *
   * A tensor is computed on the GPU where it is, whatever the default: for it 'auto', 'cuda' and the name of that GPU
   * mean the same, and another device is refused.
   */
  device?: Device | undefined;
}

/** The names of these options. */
export const callOptions = ['shape', 'threads', 'device'] as const;

/** The names of a function's options. */
export interface Names {
  readonly all: readonly string[];
  readonly has: (name: string) => boolean;
}

export function namesOf(...all: readonly string[]): Names {
  const [a, b, c, d, e, f] = all;
  // Some comparisons: a search would take every call about 10 ns longer.
  const has = (name: string): boolean =>
    name === a || name === b || name === c || name === d || name === e || name === f || all.includes(name);
  return { all, has };
}

/** Options by their names, of which none is unknown. */
export type Options = Readonly<Record<string, unknown>>;

/** The options as an object, empty where none were given. */
export function readOptions(options: unknown, names: Names): Options {
  if (options === undefined) return none;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidType('an object such as { shape }', 'options', options);
  }
  checkNames(options, names);
  return options as Options;
}

/** Refuses a name that is none of these: a misspelt `shape` would make one row of all elements. */
export function checkNames(options: object, { all, has }: Names, kind = 'an option'): void {
  for (const name in options) {
    // What an object inherits nobody has misspelt in it.
    if (!has(name) && Object.hasOwn(options, name)) throw unknownOption(all, `the name of ${kind}`, name);
  }
}

const none = Object.freeze({});
