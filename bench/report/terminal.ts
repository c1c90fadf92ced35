// Formats texts and tables for a terminal, which is assumed to be 80 columns wide.

import Table from 'cli-table3';
import { Help } from 'commander';

import type { Cells } from './table';

const terminalWidth = 80;
const help = new Help();

/**
 * Breaks a text into lines that fit a terminal if the first begins at column `indent` or before.
 * Indents the other lines. A word that is longer, such as a path, stays whole, so that it can be
 * copied.
 */
export function wrap(text: string, indent = 0): string {
  const lines = help.boxWrap(text, terminalWidth - indent);
  return lines.replaceAll('\n', `\n${' '.repeat(indent)}`);
}

export interface TableStyle {
  readonly isColoured: boolean;
  readonly firstColumn: 'left' | 'right';
}

/** Spaces between columns are narrower than lines. There is a rule below the head. */
const gap = '  ';
const borders = 'top bottom left right'
  .split(' ')
  .flatMap((side) => [...[side, `${side}-mid`, `${side}-left`, `${side}-right`]]);
const chars = {
  ...Object.fromEntries(borders.map((name) => [name, ''])),
  ...{ middle: gap, mid: '─', 'mid-mid': '─'.repeat(gap.length) },
};

/** Formats a table. Columns that do not fit beside the others follow in tables below it. */
export function setTable(cells: Cells, { isColoured, firstColumn }: TableStyle): string {
  return blocksOf(withNarrowHeads(cells))
    .map(({ head, rows }) => {
      const table = new Table({
        ...{ head: [...head], chars },
        colAligns: head.map((_, i) => (i === 0 ? firstColumn : 'right')),
        rowAligns: ['bottom'],
        style: {
          ...{ compact: true, 'padding-left': 0, 'padding-right': 0 },
          ...{ head: isColoured ? ['bold'] : [], border: isColoured ? ['grey'] : [] },
        },
      });
      for (const row of rows) table.push([...row]);
      return table.toString().replaceAll(/ +$/gm, '');
    })
    .join('\n\n');
}

/** Breaks long names above narrow columns into one word a line, except in the first column. */
function withNarrowHeads({ head, rows }: Cells): Cells {
  return { head: head.map((name, i) => (i === 0 ? name : name.replaceAll(/[- ]/g, '\n'))), rows };
}

/** Splits the columns into the fewest tables that fit a terminal. Each repeats the first column. */
function blocksOf({ head, rows }: Cells): Cells[] {
  const widths = head.map((_, i) => {
    const lines = [head, ...rows].flatMap((cells) => String(cells[i]).split('\n'));
    return Math.max(...lines.map((line) => line.length));
  });
  const blocks: number[][] = [];
  let room = 0;
  widths.forEach((width, i) => {
    if (i === 0) return;
    const needed = gap.length + width;
    if (needed > room) {
      blocks.push([0]);
      room = terminalWidth - (widths[0] as number);
    }
    blocks.at(-1)?.push(i);
    room -= needed;
  });
  const pick = (cells: readonly (string | number)[], columns: readonly number[]) =>
    columns.map((i) => cells[i] as string | number);
  return blocks.map((columns) => ({
    head: pick(head, columns).map(String),
    rows: rows.map((row) => pick(row, columns)),
  }));
}
