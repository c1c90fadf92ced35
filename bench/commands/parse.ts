import { InvalidArgumentError } from 'commander';
import type { CastOrder, DType } from 'fused-rmsnorm';

import { castOrders, dtypes, type Op } from '../cases/cases';
import { readShape, shapeSets, type Shape } from '../cases/sets';
import type { RivalChoice } from '../subjects/rivals/chosen';

/** Parsers of the command line's options. Each throws InvalidArgumentError. */

/** The names in a list, each once. */
function namesIn<T extends string>(text: string, known: readonly T[]): T[] {
  const names = text.split(',').map((each) => {
    const found = known.find((name) => name === each);
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`'${each}' is not one of ${known.join(', ')}.`);
  });
  return [...new Set(names)];
}

/** A name that `--op` accepts. `'call'` is not an operation: it selects the forms of a call. */
export type NamedOp = Op | 'call';

export function readOps(text: string): NamedOp[] {
  const names = ['forward', 'backward', 'residual', 'quantize', 'gated', 'both', 'call'] as const;
  const ops = namesIn(text, names).flatMap((op): readonly NamedOp[] =>
    op === 'both' ? ['forward', 'backward'] : [op],
  );
  return [...new Set(ops)];
}

export function readDTypes(text: string): DType[] {
  return namesIn(text, dtypes);
}

export function readCastOrders(text: string): readonly CastOrder[] {
  return text === 'both' ? castOrders : namesIn(text, castOrders);
}

export function readShapes(text: string): Shape[] {
  const shapes = text.split(',').flatMap((name): readonly Shape[] => {
    if (Object.hasOwn(shapeSets, name)) return shapeSets[name as keyof typeof shapeSets].shapes;
    const shape = readShape(name);
    if (shape !== undefined) return [shape];
    const sets = Object.keys(shapeSets).join(', ');
    throw new InvalidArgumentError(`'${name}' is neither ROWSxHIDDENSIZE nor one of ${sets}.`);
  });
  return [...new Map(shapes.map((shape) => [shape.join('x'), shape])).values()];
}

export function readDevice(text: string): string {
  if (/^(cpu|all|cuda(:\d+)?)$/.test(text)) return text;
  throw new InvalidArgumentError(`'${text}' is not one of cpu, cuda, cuda:N, all.`);
}

export function readCudaDevice(text: string): string {
  if (/^cuda(:\d+)?$/.test(text)) return text;
  throw new InvalidArgumentError(`'${text}' is not one of cuda, cuda:N.`);
}

export function readRivals(text: string, known: readonly string[]): RivalChoice {
  if (text === 'installed' || text === 'all' || text === 'none') return text;
  return namesIn(text, known);
}

export function readThreads(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 256) return count;
  throw new InvalidArgumentError('It must be an integer from 1 to 256.');
}

export function readSeconds(text: string): number {
  const seconds = Number(text);
  if (seconds > 0 && Number.isFinite(seconds)) return seconds;
  throw new InvalidArgumentError('It must be a number > 0.');
}

export function readRegularExpression(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
