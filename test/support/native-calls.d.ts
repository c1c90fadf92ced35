import type { Binding } from '../../binding';

type Operands = Readonly<Record<string, unknown>>;
type Settings = Readonly<Record<string, unknown>>;
type Call<Result> = (operands: Operands, settings: Settings) => Result;

export function recordFor(
  binding: Binding,
  operation: 'forward' | 'forwardAsync' | 'backward' | 'backwardAsync',
  operands: Operands,
  settings: Settings,
): void;

export function nativeCalls(binding: Binding): {
  forward: Call<void>;
  forwardAsync: Call<Promise<(ArrayBuffer | null)[]>>;
  backward: Call<void>;
  backwardAsync: Call<Promise<(ArrayBuffer | null)[]>>;
};
