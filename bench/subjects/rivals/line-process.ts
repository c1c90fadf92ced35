import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { pauseOf } from './pause';

/** A request to a process, or its answer: a JSON object. */
export type Message = Readonly<Record<string, unknown>>;

/** A child process that serves one request after another. It is stopped between requests. */
export interface LineProcess {
  /** Sends a request. Rejects with the error in the answer, or with one that says how the process ended. */
  request(message: Message): Promise<Message>;
  /** Closes its stdin, and waits until the process has ended. */
  close(): Promise<void>;
}

/** How much of a process's stderr an error shows: its last characters. */
const maxStderrCharacters = 2000;

/**
 * Starts a process whose requests and answers are lines of JSON on its stdin and stdout. Rejects with
 * the error of `spawn` if there is no such command.
 */
export async function startLineProcess(
  command: string,
  args: readonly string[],
): Promise<LineProcess> {
  const child = spawn(command, args, { env: process.env, windowsHide: true });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let stderrTail = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderrTail = (stderrTail + text).slice(-maxStderrCharacters);
  });
  child.stdin.on('error', () => undefined); // errors of writing to an ended process
  const end = new Promise<Error>((resolve) => {
    child.on('close', (code, signal) => {
      const more = stderrTail.trim() && `\n${stderrTail.trim()}`;
      resolve(new Error(`${command} ended: ${signal ?? `exit code ${code}`}${more}`));
    });
  });
  await once(child, 'spawn');
  child.on('error', () => undefined); // 'close' reports it
  const pause = pauseOf(child);
  let pending = 0;
  let isClosing = false;
  return {
    request: async (message) => {
      ++pending;
      pause.resume();
      child.stdin.write(`${JSON.stringify(message)}\n`);
      const answer = await answers.next();
      if (--pending === 0 && !isClosing) pause.stop();
      if (answer.done) throw await end;
      const { error, ...results } = JSON.parse(answer.value) as Message;
      if (typeof error === 'string') throw new Error(`${command}: ${error}`);
      return results;
    },
    close: async () => {
      isClosing = true;
      pause.resume();
      child.stdin.end();
      await end;
      await pause.close();
    },
  };
}
