// The files of compiled kernels next to the addon: where the addon looks for them, and its error if
// they are missing or damaged. Each test copies the addon into a new folder.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { contentsOf, readKernelFile, sealKernelFile } from '../../bench/environment/kernel-file';
import { addon, hasSimulator, printedBy, simulator } from '../support/processes';

const built = path.join(__dirname, '../../build/cuda');
const isBuilt = hasSimulator && existsSync(built);
const names = isBuilt ? readdirSync(built).filter((name) => name.endsWith('.fatbin')) : [];
const onFiles = names.length > 0 ? describe : describe.skip;
const unlessFiles = names.length > 0 ? '' : ' (skipped: test/cudasim or nvcc is missing)';

let root = '';

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'rmsnorm-ö-'));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

/** Copies the addon and its kernels to two paths below `root`. Returns the addon's path. */
function installCopy(copy: string, kernels: string): string {
  for (const name of names) cpSync(path.join(built, name), path.join(root, kernels, name));
  mkdirSync(path.dirname(path.join(root, copy)), { recursive: true });
  cpSync(addon, path.join(root, copy));
  return path.join(root, copy);
}

/**
 * The outcomes of three forward calls on ones: two on a GPU, then one on the CPU. An outcome is 1 or
 * the error. The program `prepare` runs first.
 */
async function outcomesOf(
  copy: string,
  { capability = '9.0', driver = simulator, prepare = '' } = {},
): Promise<unknown> {
  const program = `
    const binding = require(${JSON.stringify(copy)});
    ${prepare}
    const { nativeCalls } = require(${JSON.stringify(require.resolve('../support/native-calls.js'))});
    const attempt = (device) => {
      const y = new Float32Array(4);
      try {
        const operands = { x: new Float32Array(4).fill(1), out: y };
        nativeCalls(binding).forward(operands, { hiddenSize: 4, eps: 0, device });
        return y[3];
      } catch ({ code, message }) {
        return { code, message };
      }
    };
    print([attempt(0), attempt(0), attempt(-1)]);
  `;
  const environment = { RMSNORM_LIBCUDA: driver, CUDASIM_CC: capability };
  const [outcomes] = await printedBy(program, environment);
  return outcomes;
}

const unavailable = (message: string) => {
  const error = { code: 'ERR_CUDA_UNAVAILABLE', message: `CUDA is not available: ${message}` };
  return [error, error, 1];
};

onFiles(`kernels${unlessFiles}`, () => {
  test.each([
    ['build/Release/rmsnorm.node', 'build/cuda'],
    ['build/Release/rmsnorm.node', 'prebuilds/cuda'],
    ['prebuilds/linux-x64/rmsnorm.glibc.node', 'prebuilds/cuda'],
  ])('of %s are found in %s', async (copy, kernels) => {
    expect(await outcomesOf(installCopy(copy, kernels))).toEqual([1, 1, 1]);
  });

  test('of another build are not loaded', async () => {
    const copy = installCopy('build/Release/rmsnorm.node', 'other');
    for (const name of names) {
      const other = name.replace(/\.[0-9a-f]{16}\./, '.0123456789abcdef.');
      expect(other).not.toBe(name);
      cpSync(path.join(root, 'other', name), path.join(root, 'build/cuda', other));
    }
    expect(await outcomesOf(copy)).toEqual(
      unavailable(
        `the addon's kernels are missing: the file '${String(names[0])}' is in none of these folders: ` +
          `'${root}/build/cuda', '${root}/prebuilds/cuda'`,
      ),
    );
  });

  test('outside the package are not loaded', async () => {
    const copy = installCopy('package/build/Release/rmsnorm.node', 'prebuilds/cuda');
    const package_ = path.join(root, 'package');
    expect(await outcomesOf(copy)).toEqual(
      unavailable(
        `the addon's kernels are missing: the file '${String(names[0])}' is in none of these folders: ` +
          `'${package_}/build/cuda', '${package_}/prebuilds/cuda'`,
      ),
    );
  });

  /** Where machine code begins, and where PTX begins. */
  const offsetsOf = (name: string) => {
    const { machineCode, ptx } = readKernelFile(path.join(built, name));
    const contents = contentsOf(readFileSync(path.join(built, name)));
    const texts = contents.length - ptx.stream.length;
    return { code: texts - machineCode.stream.length, texts };
  };

  test.each([
    ['machine code', ({ code }: ReturnType<typeof offsetsOf>) => code],
    ['PTX', ({ texts }: ReturnType<typeof offsetsOf>) => texts],
  ])('with damaged %s under a valid checksum are an invalid image', async (_, beginOf) => {
    const copy = installCopy('build/Release/rmsnorm.node', 'build/cuda');
    const name = String(names.find((each) => each.startsWith('forward')));
    const file = path.join(root, 'build/cuda', name);
    const contents = contentsOf(readFileSync(file));
    const begin = beginOf(offsetsOf(name));
    const failure = expect.objectContaining({ code: 'ERR_CUDA_INVALID_IMAGE' }) as unknown;
    for (const damage of [
      Buffer.from(contents).fill('.version 7.0', begin, begin + 12),
      Buffer.from(contents).fill(0, begin + 1000, begin + 2000),
    ]) {
      writeFileSync(file, sealKernelFile(name, damage));
      expect(await outcomesOf(copy)).toEqual([failure, failure, 1]);
    }
  });

  test('truncated in the PTX under a valid checksum are an invalid image', async () => {
    const copy = installCopy('build/Release/rmsnorm.node', 'build/cuda');
    const name = String(names.find((each) => each.startsWith('forward')));
    const file = path.join(root, 'build/cuda', name);
    const contents = contentsOf(readFileSync(file));
    const failure = expect.objectContaining({ code: 'ERR_CUDA_INVALID_IMAGE' }) as unknown;
    writeFileSync(file, sealKernelFile(name, contents.subarray(0, contents.length - 20_000)));
    expect(await outcomesOf(copy)).toEqual([failure, failure, 1]);
  });

  test('with machine code that the driver does not understand fail to load', async () => {
    const copy = installCopy('build/Release/rmsnorm.node', 'build/cuda');
    const name = String(names.find((each) => each.startsWith('forward')));
    const { ptx } = readKernelFile(path.join(built, name));
    const line = Buffer.from(`code 13000 ${ptx.stream.length} sm_80 compute_80 11000\n`);
    const contents = Buffer.concat([line, ptx.stream, ptx.stream]);
    writeFileSync(path.join(root, 'build/cuda', name), sealKernelFile(name, contents));
    const failure = expect.objectContaining({ code: 'ERR_CUDA_INVALID_PTX' }) as unknown;
    expect(await outcomesOf(copy)).toEqual([failure, failure, 1]);
  });

  test('of a compiler newer than the driver load from PTX alone', async () => {
    const copy = installCopy('build/Release/rmsnorm.node', 'build/cuda');
    const name = String(names.find((each) => each.startsWith('forward')));
    const file = path.join(root, 'build/cuda', name);
    const contents = contentsOf(readFileSync(file));
    // Machine code is loaded first. The second cuModuleLoadData call loads PTX.
    const prepare = "process.env.CUDASIM_FAIL = 'cuModuleLoadData@2:CUDA_ERROR_OUT_OF_MEMORY';";
    const failure = expect.objectContaining({ code: 'ERR_CUDA_OUT_OF_MEMORY' }) as unknown;
    expect(await outcomesOf(copy, { prepare })).toEqual([failure, 1, 1]);
    expect(contents.write('code 14000')).toBe(10);
    writeFileSync(file, sealKernelFile(name, contents));
    expect(await outcomesOf(copy, { prepare })).toEqual([1, 1, 1]);
  });

  test('have machine code and PTX of several architectures', () => {
    for (const name of names) {
      const { machineCode, ptx } = readKernelFile(path.join(built, name));
      expect(machineCode.architectures.length).toBeGreaterThan(0);
      expect(ptx.architectures.length).toBeGreaterThan(1);
    }
  });

  test('are read once a process', async () => {
    const copy = installCopy('build/Release/rmsnorm.node', 'build/cuda');
    const program = `
      const { rmSync } = require('node:fs');
      const { Worker } = require('node:worker_threads');
      const forward = (binding) => {
        const y = new Float32Array(4);
        const operands = { x: new Float32Array(4).fill(1), out: y };
        const { nativeCalls } = require(${JSON.stringify(require.resolve('../support/native-calls.js'))});
        nativeCalls(binding).forward(operands, { hiddenSize: 4, eps: 0, device: 0 });
        return y[3];
      };
      const run = () =>
        new Promise((resolve, reject) => {
          const program =
            'const forward = ' + forward + ';' +
            'require("node:worker_threads").parentPort.postMessage(forward(require(' +
            ${JSON.stringify(JSON.stringify(copy))} + ')));';
          new Worker(program, { eval: true }).on('message', resolve).on('error', reject);
        });
      (async () => {
        const first = await run();
        rmSync(${JSON.stringify(path.join(root, 'build/cuda'))}, { recursive: true });
        print([first, await run()]);
      })();
    `;
    expect(await printedBy(program, { RMSNORM_LIBCUDA: simulator })).toEqual([[1, 1]]);
  });

  test('have the same seal from CMake as from JavaScript', () => {
    for (const name of names) {
      const file = readFileSync(path.join(built, name));
      expect(sealKernelFile(name, contentsOf(file)).equals(file)).toBe(true);
    }
  });

  const damaged = (file: string, reason: string) =>
    unavailable(
      `the kernel file '${file}' is damaged: ${reason}. Reinstall the package, or build the ` +
        'kernels again',
    );
  const noChecksum = 'it has no checksum at the end';
  const otherChecksum = 'its checksum does not match';
  const flip = (at: (bytes: number) => number) => (whole: Buffer) => {
    const offset = at(whole.length);
    whole.writeUInt8(whole.readUInt8(offset) ^ 1, offset);
    return whole;
  };

  test.each([
    ['cut short', (whole: Buffer) => whole.subarray(0, 1000), noChecksum],
    ['a byte short', (whole: Buffer) => whole.subarray(0, -1), otherChecksum],
    ['a byte longer', (whole: Buffer) => Buffer.concat([whole, Buffer.of(10)]), otherChecksum],
    ['without their first byte', (whole: Buffer) => whole.subarray(1), otherChecksum],
    ['without a checksum', (whole: Buffer) => contentsOf(whole), noChecksum],
    ['empty', () => '', noChecksum],
    ['no fatbins', () => 'version https://example.com\n', noChecksum],
    ['flipped in their first byte', flip(() => 0), otherChecksum],
    ['flipped in their header', flip(() => 9), otherChecksum],
    ['flipped in the middle', flip((bytes) => bytes >> 1), otherChecksum],
    ['flipped in the last byte of a kernel', flip((bytes) => bytes - 150), otherChecksum],
    ['flipped in the checksum', flip((bytes) => bytes - 2), otherChecksum],
  ])('in files that are %s are refused as damaged', async (_, damage, reason) => {
    const copy = installCopy('build/Release/rmsnorm.node', 'build/cuda');
    const file = path.join(root, 'build/cuda', String(names.at(-1)));
    writeFileSync(file, damage(readFileSync(file)));
    expect(await outcomesOf(copy)).toEqual(damaged(file, reason));
  });

  test.each([
    ['empty', () => Buffer.alloc(0)],
    ['a text', () => Buffer.from('kernels')],
    ['a line without an end', () => Buffer.from('code 13000 0 sm_80 compute_80 11000')],
    ['shorter than the machine code', (whole: Buffer) => whole.subarray(0, 1000)],
    ['the streams alone', (whole: Buffer) => whole.subarray(whole.indexOf('\n') + 1)],
    ['of an unknown architecture', () => Buffer.from('code 13000 0 sm_80 compute_ 11000\n')],
    ['for an unknown driver', () => Buffer.from('code 13000 0 sm_80 compute_80 new\n')],
  ])('whose sealed contents are %s are refused by their format', async (_, damage) => {
    const copy = installCopy('build/Release/rmsnorm.node', 'build/cuda');
    const name = String(names[0]);
    const file = path.join(root, 'build/cuda', name);
    writeFileSync(file, sealKernelFile(name, damage(contentsOf(readFileSync(file)))));
    expect(await outcomesOf(copy)).toEqual(damaged(file, 'its format is unknown'));
  });

  test('under the name of other kernels are refused', async () => {
    const copy = installCopy('build/Release/rmsnorm.node', 'build/cuda');
    const [first, second] = names as [string, string];
    const older = first.replace(/\.[0-9a-f]{16}\./, '.0123456789abcdef.');
    const file = path.join(root, 'build/cuda', first);
    const fatbin = contentsOf(readFileSync(file));
    cpSync(path.join(root, 'build/cuda', second), file);
    const reason = (name: string) => `it is the file '${name}' under another name`;
    expect(await outcomesOf(copy)).toEqual(damaged(file, reason(second)));
    for (const name of [older, first.replace('fatbin', 'gatbin')]) {
      writeFileSync(file, sealKernelFile(name, fatbin));
      expect(await outcomesOf(copy)).toEqual(damaged(file, reason(name)));
    }
  });

  test.each([
    ['a pipe', 'mkfifo "$0"', 'it is not a regular file'],
    ['a link to a pipe', 'mkfifo "$0".pipe && ln -s "$0".pipe "$0"', 'it is not a regular file'],
    ['a link to a device', 'ln -s /dev/zero "$0"', 'it is not a regular file'],
    ['a link to a device without an end', 'ln -s /dev/random "$0"', 'it is not a regular file'],
    ['a folder', 'mkdir "$0"', 'it is not a regular file'],
    ['a link to itself', 'ln -s "$0" "$0"', 'Too many levels of symbolic links'],
    ['too large', 'truncate -s 100G "$0"', 'it is larger than 67108864 bytes'],
  ])('are unavailable if their file is %s', async (_, make, reason) => {
    const copy = installCopy('build/Release/rmsnorm.node', 'build/cuda');
    const file = path.join(root, 'build/cuda', String(names[1]));
    rmSync(file);
    execFileSync('sh', ['-c', make, file]);
    expect(await outcomesOf(copy)).toEqual(
      unavailable(`the kernel file '${file}' cannot be read: ${reason}`),
    );
  });

  test('are unavailable if their file is a socket', async () => {
    const copy = installCopy('build/Release/rmsnorm.node', 'build/cuda');
    const file = path.join(root, 'build/cuda', String(names[1]));
    rmSync(file);
    const server = createServer().listen(file);
    await once(server, 'listening');
    try {
      expect(await outcomesOf(copy)).toEqual(
        unavailable(`the kernel file '${file}' cannot be read: it is not a regular file`),
      );
    } finally {
      server.close();
    }
  });

  // The superuser may read every file, so the process changes its user. That user may read only `root`,
  // so the simulator is copied there.
  test('are unavailable if their file may not be read', async () => {
    const copy = installCopy('build/Release/rmsnorm.node', 'build/cuda');
    const file = path.join(root, 'build/cuda', String(names[1]));
    const driver = path.join(root, 'libcuda.so.1');
    cpSync(simulator, driver);
    chmodSync(root, 0o755);
    chmodSync(file, 0);
    const prepare = 'if (process.getuid() === 0) process.seteuid(65534);';
    expect(await outcomesOf(copy, { driver, prepare })).toEqual(
      unavailable(`the kernel file '${file}' cannot be read: Permission denied`),
    );
  });
});
