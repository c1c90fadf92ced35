// Rivals whose threads would disturb other subjects. Each runs in a separate Node.js process, which
// runs this program again.

import { Console } from 'node:console';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { setNumThreads } from 'fused-rmsnorm';

import { zeros, type Arrays, type Elements } from '../../cases/arrays';
import { elementBytes, type Case } from '../../cases/cases';
import type { Answer } from '../../cases/verify';
import { Failure } from '../../environment/failure';
import { packageRoot } from '../../environment/package';
import type { OutputMode } from '../subject';
import { startLineProcess, type Message } from './line-process';
import { inputNames, loadRemote } from './remote';
import { MissingRival, type LoadedRival, type PreparedRival, type Rival } from './rival';

/** Makes this program serve the rival that the next argument names. `--help` does not mention it. */
export const serveArgument = 'serve-rival';

/** The same rival, run in a child process. */
export function inChildProcess(rival: Rival): Rival {
  return { ...rival, load: () => loadServed(rival.name) };
}

async function loadServed(name: string): Promise<LoadedRival> {
  const program = path.join(packageRoot, 'dist/bench/cli.js');
  const child = await startLineProcess(process.execPath, [program, serveArgument, name]);
  return loadRemote(child, ({ hint, outdated }) => {
    const why = typeof outdated === 'string' ? { outdated } : {};
    return new MissingRival(name, String(hint), why);
  });
}

/** A request from remote.ts. */
type Request = Case & {
  readonly command: 'start' | 'prepare' | 'run' | 'results' | 'dispose';
  readonly threads: number;
  readonly case: number;
  readonly folder: string;
  readonly outputs: OutputMode;
  readonly repeats: number;
};

/** Answers requests for a rival until stdin ends. */
export async function serve(name: string | undefined, rivals: readonly Rival[]): Promise<void> {
  const rival = rivals.find((each) => each.name === name);
  if (rival === undefined) throw new Failure(`There is no rival '${name}' to serve.`);
  process.on('SIGINT', () => undefined); // the benchmark handles it and closes stdin
  globalThis.console = new Console(process.stderr); // only answers go to stdout
  const answer = answers(rival);
  for await (const line of createInterface({ input: process.stdin })) {
    const message = await answer(JSON.parse(line) as Request).catch((error: unknown) => ({
      error: String(error),
    }));
    process.stdout.write(`${JSON.stringify(message)}\n`);
  }
  process.exit(); // even if threads of the rival still run
}

function answers(rival: Rival): (request: Request) => Promise<Message> {
  let loaded: LoadedRival | undefined;
  const cases = new Map<number, PreparedRival>();
  const commands: Record<Request['command'], (request: Request) => Promise<Message>> = {
    start: async ({ threads }) => {
      setNumThreads(threads);
      try {
        loaded = await rival.load();
      } catch (error) {
        if (!(error instanceof MissingRival)) throw error;
        return { hint: error.hint, outdated: error.outdated };
      }
      return { version: loaded.version };
    },
    prepare: async (request) => {
      const arrays = await readArrays(request);
      const prepared = await (loaded as LoadedRival).prepare(request, arrays, request.outputs);
      cases.set(request.case, prepared);
      return {};
    },
    run: async ({ repeats, ...request }) => ({ ns: await preparedOf(request).run(repeats) }),
    results: async ({ folder, ...request }) => {
      const answer = Object.entries((await preparedOf(request).results()) as Required<Answer>);
      for (const [name, floats] of answer) {
        if (!(floats instanceof Float32Array)) throw new TypeError(`${name} is not a Float32Array`);
        await writeFile(path.join(folder, name), floats);
      }
      return { names: answer.map(([name]) => name) };
    },
    dispose: async (request) => {
      await preparedOf(request).dispose?.();
      cases.delete(request.case);
      return {};
    },
  };
  const preparedOf = (request: Pick<Request, 'case'>) => cases.get(request.case) as PreparedRival;
  return (request) => commands[request.command](request);
}

/** Reads the inputs of a {@link BasicOp} from their files, and allocates memory for the results. */
async function readArrays({ folder, dtype, rows, hiddenSize, op }: Request): Promise<Arrays> {
  const read = async (name: (typeof inputNames)[number], of = dtype): Promise<Elements> => {
    const bytes = await readFile(path.join(folder, name));
    const array = zeros(of, bytes.length / elementBytes[of]);
    new Uint8Array(array.buffer).set(bytes);
    return array;
  };
  const rstdType = dtype === 'float64' ? 'float64' : 'float32';
  const size = rows * hiddenSize;
  return {
    x: await read('x'),
    weight: await read('weight'),
    dy: await read('dy'),
    residual: await read('residual'),
    rstd: (await read('rstd', rstdType)) as Arrays['rstd'],
    out: zeros(dtype, size),
    dweight: zeros(dtype, op === 'backward' ? hiddenSize : 0),
    sum: zeros(dtype, op === 'residual' ? size : 0),
    gate: zeros(dtype, 0),
    codes: new Int8Array(0),
    scales: new Float32Array(0),
  };
}
