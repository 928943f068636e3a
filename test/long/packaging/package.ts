// Makes the package as npm would get it: prebuilds, the tarball, and an app that has installed it where npm has no
// network and runs no scripts, and programs find no compiler.
import { type SpawnSyncReturns, execFile, execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const root = fileURLToPath(new URL('../../..', import.meta.url));

// Without the variables by which npm tells its scripts about this project and how this run is configured.
const environment = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^npm_(package|lifecycle|config_local)|^SOFTMAX_NATIVE_|^NODE_PATH$/.test(name),
  ),
);

export interface Manifest {
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  exports: Record<string, unknown>;
}

/** What npm pack says of a tarball. */
interface Packed {
  filename: string;
  size: number;
  files: { path: string }[];
}

export class Package {
  readonly work: string = mkdtempSync(path.join(tmpdir(), 'softmax-native-package-'));
  /** A copy of the repository, because prebuildify deletes build/ and moves the addon away. */
  readonly source: string = path.join(this.work, 'source');
  readonly app: string = path.join(this.work, 'app');
  readonly installed: string = path.join(this.app, 'node_modules/softmax-native');
  readonly prebuilds: string = path.join(this.installed, `prebuilds/linux-${process.arch}`);
  /** The prebuilt library. */
  readonly library: string = path.join(this.prebuilds, 'softmax-native.glibc.node');
  /** All that the PATH of installed programs names: node, and the shell by which npm starts scripts. */
  readonly bin: string = path.join(this.work, 'bin');
  files: string[] = [];
  /** Of the tarball, in bytes. */
  size = 0;

  make(): void {
    const left = /^(node_modules|build(-.*)?|dist|prebuilds|\.git)$/;
    cpSync(root, this.source, { recursive: true, filter: (file) => !left.test(path.relative(root, file)) });
    symlinkSync(path.join(root, 'node_modules'), path.join(this.source, 'node_modules'));
    npm(this.source, ['run', 'prebuilds']);

    const dependencies = Object.keys(
      (JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as Manifest).dependencies,
    );
    const own = this.#pack(this.source);
    this.files = own.files.map((file) => file.path);
    this.size = own.size;
    const tarballs = [
      own,
      ...dependencies.map((name) => this.#pack(path.join(root, 'node_modules', name))),
    ].map(({ filename }) => path.join(this.work, filename));

    mkdirSync(this.bin);
    symlinkSync(process.execPath, path.join(this.bin, 'node'));
    symlinkSync('/bin/sh', path.join(this.bin, 'sh'));
    mkdirSync(this.app);
    const app = { name: 'app', private: true, type: 'module' };
    writeFileSync(path.join(this.app, 'package.json'), JSON.stringify(app));
    const options = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund'];
    npm(this.app, ['install', ...options, ...tarballs], { PATH: this.bin });
  }

  remove(): void {
    rmSync(this.work, { recursive: true, force: true });
  }

  manifest(): Manifest {
    return JSON.parse(readFileSync(path.join(this.installed, 'package.json'), 'utf8')) as Manifest;
  }

  /** What programs can import: softmax-native, and every other entry of "exports" that is code. */
  entries(): string[] {
    return Object.keys(this.manifest().exports)
      .filter((entry) => !entry.endsWith('.json'))
      .map((entry) => path.posix.join('softmax-native', entry));
  }

  /** Runs Node.js in the app. */
  node(args: string[], program = process.execPath): SpawnSyncReturns<string> {
    return spawnSync(program, args, {
      cwd: this.app,
      env: { ...environment, PATH: this.bin },
      encoding: 'utf8',
    });
  }

  /**
   * Runs the command by which users build the library from source, as where there is no nvcc: the kernels for GPUs take
   * minutes, and the prebuilt library has them.
   */
  buildFromSource(): void {
    const cmakeJs = path.join(root, 'node_modules/cmake-js/bin/cmake-js');
    execFileSync(process.execPath, [cmakeJs, 'compile', '-d', 'node_modules/softmax-native'], {
      cwd: this.app,
      env: { ...environment, CUDACXX: 'none' },
      stdio: 'pipe',
    });
  }

  #pack(folder: string): Packed {
    const args = ['pack', '--json', '--silent', '--pack-destination', this.work];
    const [result] = JSON.parse(npm(folder, args)) as [Packed];
    return result;
  }
}

/**
 * Fetches a version of Node.js from the npm registry.
 *
 * @returns its program, or why it could not be had
 */
export async function fetchNode(folder: string, version: string): Promise<{ program: string } | Error> {
  mkdirSync(folder, { recursive: true });
  const name = `node-linux-${process.arch}`;
  const options = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folder];
  try {
    await promisify(execFile)(process.execPath, [npmCli(), 'install', ...options, `${name}@${version}`], {
      cwd: folder,
      env: environment,
    });
    return { program: path.join(folder, 'node_modules', name, 'bin/node') };
  } catch (error) {
    return error as Error;
  }
}

export function npm(cwd: string, args: string[], env: Record<string, string> = {}): string {
  return execFileSync(process.execPath, [npmCli(), ...args], {
    cwd,
    env: { ...environment, ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function npmCli(): string {
  return (
    process.env['npm_execpath'] ??
    path.join(execFileSync('npm', ['root', '-g'], { encoding: 'utf8' }).trim(), 'npm/bin/npm-cli.js')
  );
}
