// A program that times candidates of its own, on data of its own. It reads lines of words and answers each with a line
// of JSON:
//
//   prepare OPERATION DTYPE OUTER K INNER SLOTS THREADS   { "candidates": [{ "id", ... }] }
//   time ID CALLS                                         { "nanoseconds": of all the calls }
//
// An answer { "error": text } says why something cannot be done. While it waits for a line it uses no processor time.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** bench/native/kernels.cpp, with idle threads that sleep, as the library has it. */
export function startKernels(...args) {
  const program = fileURLToPath(new URL('../../build/programs/cpu_bench', import.meta.url));
  return new Subprocess(program, args, { ...process.env, OMP_WAIT_POLICY: 'passive' });
}

/** python_peers.py, in the interpreter that BENCH_PYTHON names, that of npm run bench:peers, or python3. */
export function startPython() {
  const own = fileURLToPath(new URL('.venv/bin/python', import.meta.url));
  const interpreter = process.env.BENCH_PYTHON ?? (existsSync(own) ? own : 'python3');
  const script = fileURLToPath(new URL('python_peers.py', import.meta.url));
  return new Subprocess(interpreter, [script], { ...process.env, PYTHONDONTWRITEBYTECODE: '1' });
}

class Subprocess {
  #child;
  #answers = [];
  #waiting;
  #ended;

  constructor(command, args, env = process.env) {
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env });
    this.#child.stdin.on('error', () => {});
    this.#child.on('error', (error) => this.#end(error.message));
    this.#child.on('close', (code, signal) => this.#end(`${command} ended with ${code ?? signal}`));
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#answer(JSON.parse(line)));
  }

  async prepare({ operation, dtype, outer, k, inner, slots, threads }) {
    const words = ['prepare', operation, dtype, outer, k, inner, slots, threads];
    const { candidates } = await this.#ask(words.join(' '));
    return candidates.map(({ id, ...rest }) => ({
      ...rest,
      time: async (calls, awake) =>
        (await this.#ask(`time ${id} ${calls}${awake ? ' awake' : ''}`)).nanoseconds,
    }));
  }

  /** The next line that it writes. */
  next() {
    return new Promise((resolve, reject) => {
      if (this.#answers.length > 0) resolve(this.#answers.shift());
      else if (this.#ended !== undefined) reject(new Error(this.#ended));
      else this.#waiting = { resolve, reject };
    });
  }

  close() {
    this.#child.stdin.end();
  }

  async #ask(line) {
    if (this.#ended !== undefined) throw new Error(this.#ended);
    this.#child.stdin.write(`${line}\n`);
    const answer = await this.next();
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }

  #answer(answer) {
    if (this.#waiting === undefined) {
      this.#answers.push(answer);
      return;
    }
    const { resolve } = this.#waiting;
    this.#waiting = undefined;
    resolve(answer);
  }

  #end(reason) {
    this.#ended ??= reason;
    this.#waiting?.reject(new Error(reason));
    this.#waiting = undefined;
  }
}
