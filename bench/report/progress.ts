import { SingleBar } from 'cli-progress';

/** Receives the current task and the fraction of all work that is done, from 0 to 1. */
export type Progress = (name: string, fraction: number) => void;

/** Reports progress on stderr: a bar on a terminal, otherwise the name of each case at its start. */
export function showProgress(): { update: Progress; stop: () => void } {
  const format = { format: '{bar} {name}', clearOnComplete: true, hideCursor: true };
  const bar = process.stderr.isTTY ? new SingleBar(format) : null;
  bar?.start(1, 0, { name: '' });
  let last = '';
  const update = (name: string, fraction: number) => {
    bar?.update(fraction, { name });
    if (bar === null && name !== last) process.stderr.write(`${name}\n`);
    last = name;
  };
  return { update, stop: () => bar?.stop() };
}
