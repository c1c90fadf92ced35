import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** What a process answers: an object of JSON. */
export type Answer = Readonly<Record<string, unknown>>;

/** How much of what a process complains about is told. */
const toldCharacters = 2000;

/**
 * A child process that is asked for one thing after the other: requests and answers are lines of JSON
 * on its stdin and stdout. If it ends, so do all requests, with an error that says how.
 */
export class LineProcess {
  readonly #command: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string, undefined>;
  /** How it ended, once it has. */
  readonly #end: Promise<Error>;

  /** Rejects with the error of `spawn` if there is no such command. */
  static async start(command: string, args: readonly string[]): Promise<LineProcess> {
    const child = spawn(command, args, { env: process.env, windowsHide: true });
    const lines = new LineProcess(command, child);
    await once(child, 'spawn');
    return lines;
  }

  private constructor(command: string, child: ChildProcessWithoutNullStreams) {
    this.#command = command;
    this.#child = child;
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    let complaints = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaints = (complaints + text).slice(-toldCharacters);
    });
    child.on('error', () => undefined); // told by `start`, or by 'close'
    child.stdin.on('error', () => undefined); // that of writing to one that has ended
    this.#end = new Promise((resolve) => {
      child.on('close', (code, signal) => {
        const more = complaints.trim() && `\n${complaints.trim()}`;
        resolve(new Error(`${command} ended: ${signal ?? `exit code ${code}`}${more}`));
      });
    });
  }

  async request(message: Readonly<Record<string, unknown>>): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
    const { value: line } = await this.#answers.next();
    if (line === undefined) throw await this.#end;
    const answer = JSON.parse(line) as Answer;
    if (typeof answer['error'] === 'string')
      throw new Error(`${this.#command}: ${answer['error']}`);
    return answer;
  }

  /** Lets it end, and waits until it has. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#end;
  }
}
