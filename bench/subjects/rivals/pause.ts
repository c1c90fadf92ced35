import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** Stops all threads of a child process for a while. */
export interface Pause {
  stop(): void;
  resume(): void;
  /** To be called when the child has ended. */
  close(): Promise<void>;
}

/** Waits until the benchmark closes stdin or ends, however it ends, and then kills the child. */
const guardScript = 'trap "" INT TERM HUP; read -r _; kill -KILL "$1"';

/**
 * Pauses by SIGSTOP. Threads of onnxruntime and of OpenMP spin for some time after a call, and slow
 * down whatever runs meanwhile. A child that is stopped cannot see that the benchmark has crashed,
 * so that a shell watches. Windows has no such signal: there the child runs all the time.
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
