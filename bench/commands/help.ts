// The text below the options in a command's `--help`.

import { wrap } from '../report/terminal';

/** The meaning of each exit code of a command. */
export function exitCodesHelp(codes: Readonly<Record<number, string>>): string {
  return section('Exit codes', Object.entries(codes));
}

/** A heading, with terms and their descriptions below it. */
export function section(
  heading: string,
  items: readonly (readonly [term: string, text: string])[],
): string {
  const indent = Math.max(...items.map(([term]) => term.length)) + 4;
  const lines = items.map(([term, text]) => `  ${term}`.padEnd(indent) + wrap(text, indent));
  return `${heading}:\n${lines.join('\n')}`;
}
