// What the options of every function have in common.
import { invalidType } from './errors.ts';
import type { Shape } from './shape.ts';

export interface CallOptions {
  /**
   * The sizes of x, row-major; their product is the length of x. Any rank from 1. Without it x is one row, or has the
   * shape that it carries itself, which this option may repeat but not change.
   */
  shape?: Shape | undefined;
  /**
   * The most threads that the call may use. The default is OMP_NUM_THREADS where that is set, else the processors
   * available, or the processor quota of the container where that is less. Results are the same for every number.
   */
  threads?: number | undefined;
}

/** The options as an object, empty where none were given. */
export function readOptions(options: unknown): Readonly<Record<string, unknown>> {
  if (options === undefined) return none;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidType('an object such as { shape }', 'options', options);
  }
  return options as Readonly<Record<string, unknown>>;
}

const none = Object.freeze({});
