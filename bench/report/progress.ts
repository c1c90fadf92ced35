import { SingleBar } from 'cli-progress';

/** Told what is being done, and how much of all has been, from 0 to 1. */
export type Progress = (name: string, fraction: number) => void;

/** A bar on a terminal, else the name of each case when it begins: on stderr. */
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
