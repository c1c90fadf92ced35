import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** Stops all threads of a child process for a while. */
export interface Pause {
  stop(): void;
  resume(): void;
  /** Call it after the child has ended. */
  close(): Promise<void>;
}

/** Waits until the benchmark closes stdin or ends in any way, and then kills the child. */
const guardScript = 'trap "" INT TERM HUP; read -r _; kill -KILL "$1"';

/**
 * Pauses by SIGSTOP. Threads of onnxruntime and of OpenMP spin for some time after a call, and slow
 * down whatever runs meanwhile. A stopped child cannot notice a crash of the benchmark, so a shell
 * watches for it. Windows has no such signal: there the child is never stopped.
 */
export function pauseOf(child: ChildProcess): Pause {
  if (process.platform === 'win32') {
    return { stop: () => undefined, resume: () => undefined, close: () => Promise.resolve() };
  }
  const guard = spawn('sh', ['-c', guardScript, 'sh', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  let isGuarded = false;
  const ended = once(guard, 'close').catch(() => undefined); // there is no sh
  guard.once('spawn', () => {
    isGuarded = true;
  });
  return {
    stop: () => {
      if (isGuarded) child.kill('SIGSTOP');
    },
    resume: () => {
      if (isGuarded) child.kill('SIGCONT');
    },
    close: async () => {
      guard.kill('SIGKILL');
      await ended;
    },
  };
}
