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
const flags = ['--no-concurrent-recompilation'];

/** @param environment - variables to set, or with undefined to take away */
export function run(program: string, environment: NodeJS.ProcessEnv = {}): Ended {
  const env = { ...process.env, ...environment };
  for (const name of Object.keys(env)) if (env[name] === undefined) delete env[name];
  const location = fileURLToPath(new URL(`programs/${program}`, import.meta.url));
  const child = spawnSync(process.execPath, [...flags, location], { env, encoding: 'utf8' });
  const { status, signal, stdout, stderr } = child;
  return { status, signal, stdout, stderr };
}
