import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** What a process answers: an object of JSON. */
export type Answer = Readonly<Record<string, unknown>>;

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** How much of what a process complains about is told. */
const toldCharacters = 2000;

/**
 * A child process that is asked for one thing after the other: requests and answers are lines of JSON
 * on its stdin and stdout. If it ends, so do all requests, with an error that says how.
 */
export class LineProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #closed: Promise<unknown>;
  readonly #waiting: Waiting[] = [];
  #complaints = '';
  #failure: Error | undefined;

  /** Rejects with the error of `spawn` if there is no such command. */
  static async start(command: string, args: readonly string[]): Promise<LineProcess> {
    const child = spawn(command, args, { env: process.env, windowsHide: true });
    const lines = new LineProcess(command, child);
    await once(child, 'spawn');
    return lines;
  }

  private constructor(command: string, child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    this.#closed = new Promise((resolve) => {
      child.on('close', (code, signal) => {
        const complaints = this.#complaints.trim();
        this.#failure = new Error(
          `${command} ended: ${signal ?? `exit code ${code}`}${complaints && `\n${complaints}`}`,
        );
        for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#failure);
        resolve(undefined);
      });
    });
    child.on('error', () => undefined); // told by `start`, or by 'close'
    child.stdin.on('error', () => undefined); // that of writing to one that has ended
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaints = (this.#complaints + text).slice(-toldCharacters);
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      const next = this.#waiting.shift();
      const answer = JSON.parse(line) as Answer;
      const { error } = answer;
      if (typeof error === 'string') next?.reject(new Error(`${command}: ${error}`));
      else next?.resolve(answer);
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  request(message: Readonly<Record<string, unknown>>): Promise<Answer> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Lets it end, and waits until it has. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#closed;
  }
}
