// Runs a program of this folder in a process of its own.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/**
 * Node.js 20 aborts now and then where a worker thread is terminated while V8 compiles one of its functions in the
 * background, whatever the function does: the compiler asks for the task runner of an isolate that the platform has
 * already forgotten. Compiled in the foreground, what the library's own threads do is all that can go wrong.
 */
export const flags = ['--no-concurrent-recompilation'];

/**
 * @param environment - variables to set, or with undefined to take away
 * @param options - for Node.js, before the program
 */
export function run(
  program: string,
  environment: NodeJS.ProcessEnv = {},
  args: string[] = [],
  options: string[] = [],
): Ended {
  const env = { ...process.env, ...environment };
  for (const name of Object.keys(env)) if (env[name] === undefined) delete env[name];
  const location = fileURLToPath(new URL(`programs/${program}`, import.meta.url));
  const child = spawnSync(process.execPath, [...flags, ...options, location, ...args], {
    env,
    encoding: 'utf8',
  });
  const { status, signal, stdout, stderr } = child;
  return { status, signal, stdout, stderr };
}

/** How a process ends that has nothing to say. */
export const clean: Ended = { status: 0, signal: null, stdout: '', stderr: '' };

/** Processes that use the library, by what they do and the file that does it. */
export const programs = [
  ['ends by itself', 'ends-by-itself.mjs'],
  ['calls process.exit, and computes in its handler', 'exits.mjs'],
  ['loads it in workers only, which end by themselves', 'worker-only.mjs'],
  ['loads it in workers only, which are terminated while they compute', 'worker-terminated.mjs'],
  ['computes in many workers, and exits while one does', 'many-workers.mjs'],
] as const;

/** Processes that call the asynchronous functions, by what they do and the file that does it. */
export const backgroundPrograms = [
  ['ends by itself, when its calls have', 'background-ends-by-itself.mjs'],
  ['calls process.exit while calls are under way, and makes more in its handler', 'background-exits.mjs'],
  [
    'terminates workers, which alone load it, while their calls are under way',
    'background-worker-terminated.mjs',
  ],
  ['loads it by require and by import, and from other contexts', 'require-and-import.mjs'],
] as const;

/** How OpenMP's idle threads wait, with the environment that says so. */
export const waitPolicies = [
  ['where OMP_WAIT_POLICY is passive', { OMP_WAIT_POLICY: 'passive' }],
  ['where OMP_WAIT_POLICY is not set', { OMP_WAIT_POLICY: undefined }],
  ['with idle threads that spin', { OMP_WAIT_POLICY: 'active' }],
] as const;
