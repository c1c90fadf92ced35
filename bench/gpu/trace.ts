// The trace that a simulated GPU writes, as lines of JSON: see test/cudasim/README.md.

import { readFileSync } from 'node:fs';

/** The accesses of a launch to one allocation. */
export interface BufferTraffic {
  /** Size of the allocation. */
  readonly bytes: number;
  readonly bytes_read: number;
  readonly bytes_written: number;
  readonly read_sectors: number;
  readonly written_sectors: number;
  readonly read_requests: number;
  readonly write_requests: number;
  readonly sectors_requested: number;
  readonly accesses_by_width: readonly number[];
}

/** The work of a warp from one barrier to the next; bytes are those of a lane, summed over accesses. */
export interface WarpWork {
  readonly instructions: number;
  readonly shuffles: number;
  readonly global_loaded: number;
  readonly global_stored: number;
  readonly shared_loaded: number;
  readonly shared_stored: number;
}

/** Warps that did the same work. */
export interface WarpKind {
  readonly count: number;
  /** One more than there were barriers. */
  readonly spans: readonly WarpWork[];
}

/** The trace of one launch. */
export interface LaunchLine {
  readonly type: 'launch';
  readonly kernel: string;
  readonly grid: readonly number[];
  readonly block: readonly number[];
  readonly static_shared_bytes: number;
  readonly dynamic_shared_bytes: number;
  readonly barriers: number;
  readonly shared_requests: number;
  readonly shared_wavefronts: number;
  readonly warps: readonly WarpKind[];
  readonly buffers: readonly BufferTraffic[];
}

export type TraceLine = LaunchLine | { readonly type: 'fault'; readonly message: string };

export const sectorBytes = 32;

/** Bytes that the memory of all buffers must move. */
export function uniqueBytes({ buffers }: Pick<LaunchLine, 'buffers'>): number {
  const sectors = buffers.map((buffer) => buffer.read_sectors + buffer.written_sectors);
  return sectorBytes * sectors.reduce((sum, count) => sum + count, 0);
}

export function readTrace<Line = TraceLine>(file: string): Line[] {
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Line);
}
