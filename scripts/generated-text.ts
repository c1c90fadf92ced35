// Writes generated text into documents. It stands between two marks, and replaces the text between them.

import { readFileSync, writeFileSync } from 'node:fs';

import type { Cells } from '../bench/report/table';

/** A Markdown table, whose first `leftColumns` columns are aligned to the left. */
export function markdownTable({ head, rows }: Cells, leftColumns = 1): string {
  const rule = head.map((_, i) => (i < leftColumns ? '---' : '---:'));
  return [head, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** A document with `text` between the marks of `name`. */
export function withGenerated(document: string, name: string, text: string): string {
  const [beginMark, endMark] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const begin = document.indexOf(beginMark);
  const end = document.indexOf(endMark);
  if (begin < 0 || end < begin) {
    throw new Error(`The document lacks the marks ${beginMark} and, after it, ${endMark}`);
  }
  return `${document.slice(0, begin + beginMark.length)}\n\n${text}\n\n${document.slice(end)}`;
}

/** Writes `text` between the marks of `name` in a file, in this project's format. */
export async function writeGenerated(file: string, name: string, text: string): Promise<void> {
  const written = withGenerated(readFileSync(file, 'utf8'), name, text);
  // Imported only here, since jest imports this file and cannot load prettier.
  const prettier = await import('prettier');
  const style = await prettier.resolveConfig(file);
  writeFileSync(file, await prettier.format(written, { ...style, parser: 'markdown' }));
}
