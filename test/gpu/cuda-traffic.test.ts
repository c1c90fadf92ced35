// Memory traffic of the CUDA kernels, counted on simulated GPUs of three compute capabilities. No
// byte moves twice, neighbouring threads access neighbouring whole packs, and there are no bank
// conflicts and few barriers.
//
// A call touches two of its allocations. The larger one (the chunk) holds x and y, or dy, x and dx,
// with rstd and the matrices of a residual. The other holds the weight, dweight and its partial
// sums. So reads and writes distinguish most tensors, and access widths distinguish rstd from the
// packs.

import { elementBytes } from '../../bench/cases/cases';
import { sectorBytes, uniqueBytes, type BufferTraffic } from '../../bench/gpu/trace';
import { launchesOf, resultsOf, type Launch, type Run } from '../../scripts/traced-runs';
import { hasSimulator } from '../support/processes';

jest.setTimeout(300_000); // counting takes long on a busy machine

const dtypes = ['float32', 'bfloat16'] as const;

function runsOf(
  direction: Run['direction'],
  shapes: readonly (readonly [number, number])[],
): Run[] {
  return shapes.flatMap(([rows, hiddenSize]) =>
    dtypes.map((dtype): Run => ({ direction, rows, hiddenSize, dtype })),
  );
}

const forwardRuns = runsOf('forward', [
  [64, 4096],
  [256, 1024],
  [96, 128],
  [12, 16_384],
]);
const backwardRuns = runsOf('backward', [
  [4096, 256],
  [64, 4096],
  [48, 2048],
]);
const residualRuns = [
  ...runsOf('forward', [
    [64, 4096],
    [96, 128],
    [12, 16_384],
  ]),
  ...runsOf('backward', [
    [64, 4096],
    [4096, 256],
    [16, 8192],
  ]),
].map((run): Run => ({ ...run, residual: true }));
const quantizedRuns = (['int8', 'float8_e4m3'] as const).flatMap((quantize) =>
  runsOf('forward', [
    [64, 4096],
    [256, 1024],
    [96, 128],
  ]).map((run): Run => ({ ...run, quantize })),
);
const runs = [...forwardRuns, ...backwardRuns, ...residualRuns, ...quantizedRuns];

const packBytes = 16;
const warpLanes = 32;
const packsPerWarp = packBytes * warpLanes; // bytes of a request of a full warp
const wavefrontsOfPacks = packsPerWarp / 128; // bytes of a wavefront
const groupRows = 16; // of dweight, for up to 8192 rows

const wholeSectors = (bytes: number) => Math.ceil(bytes / sectorBytes);

/** Bytes of x, or of any other matrix of the call. */
function matrixBytes({ rows, hiddenSize, dtype }: Run): number {
  return rows * hiddenSize * elementBytes[dtype];
}

/** The allocation of the rows, and that of the columns. */
function buffersOf({ buffers }: Launch): { chunk: BufferTraffic; columns: BufferTraffic } {
  const [chunk, columns, ...others] = buffers.toSorted((a, b) => b.bytes - a.bytes);
  if (chunk === undefined || columns === undefined || others.length > 0) {
    throw new Error(`${buffers.length} allocations are touched instead of 2`);
  }
  return { chunk, columns };
}

/**
 * The shared-memory wavefronts that one row of backward takes without bank conflicts. The number of
 * requests may be lower: the compiler may load two neighbouring floats at once, in one request of
 * two wavefronts.
 */
function leastWavefronts(run: Run, { kernel, block }: Launch): number {
  const threads = block[0] as number;
  const warps = threads / warpLanes;
  const ofPacks = matrixBytes(run) / run.rows / packsPerWarp;
  // x, dy and the sum of every warp are each written and read once.
  if (/^backward_(float|llama)/.test(kernel))
    return 2 * 2 * wavefrontsOfPacks * ofPacks + 2 * warps;
  // If a row is wider than a warp, both sums of every warp are written and read.
  const ofSums = warps > 1 ? 2 * 2 * warps : 0;
  if (!kernel.startsWith('backward_steps')) return ofSums;
  // x and dy are written once, and read for the sums, for dx and for dweight. For dweight every
  // warp reads rstd, too. The first thread of a row writes rstd, together with those of the warp's
  // other rows.
  return 2 * 4 * wavefrontsOfPacks * ofPacks + ofPacks + Math.min(warps, 1) + ofSums;
}

const onSimulator = hasSimulator ? describe : describe.skip;
const unless = hasSimulator ? '' : ' (skipped: test/cudasim is not built)';

onSimulator.each(['7.5', '8.0', '9.0'])(`on compute capability %s${unless}`, (capability) => {
  let launches: Launch[];
  beforeAll(async () => {
    // With one multiprocessor few row groups are enough, so dweight needs no launch of its own.
    launches = await launchesOf(runs, { CUDASIM_CC: capability, CUDASIM_SMS: '1' });
  });

  /** The launch over the rows, and reduce_dweight after it. */
  function launchesOfRun(run: Run): { rows: Launch; reduce: Launch | undefined } {
    const [rows, reduce, ...others] = launches.filter(
      (launch) => JSON.stringify(launch.run) === JSON.stringify(run),
    );
    if (rows === undefined || others.length > 0) throw new Error('not one launch over the rows');
    return { rows, reduce };
  }

  describe.each(forwardRuns)('forward of $rows x $hiddenSize $dtype', (run) => {
    const matrix = matrixBytes(run);
    const weight = run.hiddenSize * elementBytes[run.dtype];
    const rstd = run.rows * 4;

    test('reads x once and writes y and rstd once', () => {
      const { rows, reduce } = launchesOfRun(run);
      const { chunk, columns } = buffersOf(rows);
      expect(reduce).toBeUndefined();
      expect(chunk).toMatchObject({
        bytes_read: matrix,
        read_sectors: matrix / sectorBytes,
        bytes_written: matrix + rstd,
        written_sectors: matrix / sectorBytes + wholeSectors(rstd),
      });
      expect(columns).toMatchObject({ read_sectors: weight / sectorBytes, bytes_written: 0 });
      const least = 2 * matrix + weight + sectorBytes * wholeSectors(rstd);
      expect(uniqueBytes(rows)).toBe(least);
    });

    test('moves packs of 16 bytes', () => {
      const { chunk, columns } = buffersOf(launchesOfRun(run).rows);
      expect(chunk.accesses_by_width).toEqual([0, 0, run.rows, 0, (2 * matrix) / packBytes]);
      expect(columns.accesses_by_width).toEqual([0, 0, 0, 0, columns.bytes_read / packBytes]);
    });

    test('has neighbours in neighbouring packs', () => {
      const { chunk, columns } = buffersOf(launchesOfRun(run).rows);
      expect(chunk.read_requests).toBe(matrix / packsPerWarp);
      // A warp of several rows writes their rstd at once.
      const ofRstd = chunk.write_requests - matrix / packsPerWarp;
      expect(ofRstd).toBeGreaterThan(0);
      expect(ofRstd).toBeLessThanOrEqual(run.rows);
      // 16 sectors for every request of packs; rstd of one request is in one sector.
      expect(chunk.sectors_requested).toBe((2 * matrix) / sectorBytes + ofRstd);
      // Rows of one warp share the weight's sectors.
      expect(columns.sectors_requested).toBeLessThanOrEqual(columns.bytes_read / sectorBytes);
    });

    test('has no bank conflicts and at most one barrier a row', () => {
      const { rows } = launchesOfRun(run);
      expect(rows.shared_wavefronts).toBe(rows.shared_requests); // requests of 4 bytes a lane
      expect(rows.barriers).toBeLessThanOrEqual(run.rows);
    });
  });

  describe.each(quantizedRuns)('$quantize of $rows x $hiddenSize $dtype', (run) => {
    const matrix = matrixBytes(run);
    const codes = run.rows * run.hiddenSize;
    const perRow = run.rows * 4; // rstd, and the scales

    test('reads x once and writes codes, rstd and scales once', () => {
      const { rows, reduce } = launchesOfRun(run);
      const { chunk, columns } = buffersOf(rows);
      expect(reduce).toBeUndefined();
      expect(chunk).toMatchObject({
        bytes_read: matrix,
        read_sectors: matrix / sectorBytes,
        bytes_written: codes + 2 * perRow,
        written_sectors: codes / sectorBytes + 2 * wholeSectors(perRow),
      });
      expect(columns).toMatchObject({
        read_sectors: (run.hiddenSize * elementBytes[run.dtype]) / sectorBytes,
        bytes_written: 0,
      });
    });
  });

  describe.each(backwardRuns)('backward of $rows x $hiddenSize $dtype', (run) => {
    const matrix = matrixBytes(run);
    const weight = run.hiddenSize * elementBytes[run.dtype];
    const partials = Math.ceil(run.rows / groupRows) * run.hiddenSize * 4;

    // Every thread of a row reads its rstd; those of a warp do so in one request.
    const rstdReads = ({ block }: Launch) => run.rows * (block[0] as number);

    test('reads x and dy once and writes dx once', () => {
      const { rows } = launchesOfRun(run);
      const { chunk, columns } = buffersOf(rows);
      expect(chunk).toMatchObject({
        bytes_read: 2 * matrix + 4 * rstdReads(rows),
        read_sectors: (2 * matrix) / sectorBytes + wholeSectors(4 * run.rows),
        bytes_written: matrix,
        written_sectors: matrix / sectorBytes,
      });
      expect(columns).toMatchObject({
        read_sectors: weight / sectorBytes,
        bytes_written: partials,
        written_sectors: partials / sectorBytes,
      });
    });

    test('reads the partial sums once and writes dweight once', () => {
      const { reduce } = launchesOfRun(run);
      expect(reduce?.buffers).toHaveLength(1);
      expect(reduce?.buffers[0]).toMatchObject({
        bytes_read: partials,
        read_sectors: partials / sectorBytes,
        bytes_written: weight,
        written_sectors: weight / sectorBytes,
      });
      expect(reduce?.shared_wavefronts).toBe(reduce?.shared_requests);
    });

    test('moves packs of 16 bytes', () => {
      const { rows } = launchesOfRun(run);
      const { chunk, columns } = buffersOf(rows);
      const packs = (3 * matrix) / packBytes;
      expect(chunk.accesses_by_width).toEqual([0, 0, rstdReads(rows), 0, packs]);
      const ofColumns = (columns.bytes_read + columns.bytes_written) / packBytes;
      expect(columns.accesses_by_width).toEqual([0, 0, 0, 0, ofColumns]);
    });

    test('has neighbours in neighbouring packs', () => {
      const { rows } = launchesOfRun(run);
      const { chunk, columns } = buffersOf(rows);
      const ofRstd = rstdReads(rows) / warpLanes;
      expect(chunk.read_requests).toBe((2 * matrix) / packsPerWarp + ofRstd);
      expect(chunk.write_requests).toBe(matrix / packsPerWarp);
      // The rstd of a warp's rows is in one sector.
      expect(chunk.sectors_requested).toBe((3 * matrix) / sectorBytes + ofRstd);
      expect(columns.write_requests).toBe(Math.ceil(partials / packsPerWarp));
      // A thread of 8 columns writes its sums as two packs, which are halves of one sector.
      const halves = packBytes / elementBytes[run.dtype] / 4;
      const asked = columns.bytes_read + halves * columns.bytes_written;
      expect(columns.sectors_requested).toBeLessThanOrEqual(asked / sectorBytes);
    });

    test('has no bank conflicts and at most two barriers a row', () => {
      const { rows } = launchesOfRun(run);
      expect(rows.shared_wavefronts).toBe(run.rows * leastWavefronts(run, rows));
      expect(rows.barriers).toBeLessThanOrEqual(2 * run.rows);
    });
  });

  describe.each(residualRuns)('$direction of $rows x $hiddenSize $dtype with a residual', (run) => {
    const matrix = matrixBytes(run);
    const rstd = sectorBytes * wholeSectors(4 * run.rows);
    const isForward = run.direction === 'forward';

    test(
      isForward
        ? 'reads x and residual once and writes sum and y once'
        : 'reads dy, x and dsum once and writes dx once',
      () => {
        const { chunk } = buffersOf(launchesOfRun(run).rows);
        const read = isForward ? 2 * matrix : 3 * matrix;
        const written = isForward ? 2 * matrix : matrix;
        expect(chunk).toMatchObject({
          read_sectors: (isForward ? read : read + rstd) / sectorBytes,
          written_sectors: (isForward ? written + rstd : written) / sectorBytes,
        });
        // Every pack moves once, side by side with its neighbours. The only accesses of 4 bytes are
        // to rstd, each in one sector.
        const packs = (read + written) / packBytes;
        const ofRstd = chunk.accesses_by_width[2] as number;
        expect(chunk.accesses_by_width).toEqual([0, 0, ofRstd, 0, packs]);
        const requests = chunk.read_requests + chunk.write_requests - packs / warpLanes;
        expect(requests).toBeGreaterThan(0);
        expect(requests).toBeLessThanOrEqual(isForward ? run.rows : ofRstd / warpLanes);
        expect(chunk.sectors_requested).toBe((read + written) / sectorBytes + requests);
      },
    );
  });

  test.each(backwardRuns.filter(({ rows }) => rows === 4096))(
    'the partial sums of $rows rows of $dtype are at most a fifth of the matrices',
    (run) => {
      const { rows, reduce } = launchesOfRun(run);
      const written = buffersOf(rows).columns.bytes_written;
      const read = reduce?.buffers[0]?.bytes_read ?? Infinity;
      expect(written + read).toBeLessThanOrEqual(0.2 * 3 * matrixBytes(run));
    },
  );
});

onSimulator(`few row groups for many multiprocessors${unless}`, () => {
  const fewRuns = runsOf('backward', [[64, 4096]]);
  let launches: Launch[];
  beforeAll(async () => {
    launches = await launchesOf(fewRuns, { CUDASIM_SMS: '132' });
  });

  test.each(fewRuns)('give dweight of $rows x $hiddenSize $dtype a launch of its own', (run) => {
    const [columns, rows, reduce, ...others] = launches.filter(
      (launch) => launch.run.dtype === run.dtype,
    ) as [Launch, Launch, Launch];
    expect(others).toEqual([]);
    expect(reduce.kernel).toMatch(/^reduce_dweight/);
    const matrix = matrixBytes(run);
    const partials = (run.rows / groupRows) * run.hiddenSize * 4;
    const rstd = 4 * run.rows;
    // Each launch reads the rows once. The later one reads them from the second-level cache if they
    // fit.
    expect(buffersOf(columns).chunk).toMatchObject({
      read_sectors: (2 * matrix + rstd) / sectorBytes,
      bytes_written: 0,
    });
    expect(buffersOf(columns).columns).toMatchObject({ bytes_written: partials });
    expect(buffersOf(rows).chunk).toMatchObject({
      read_sectors: (2 * matrix + rstd) / sectorBytes,
      bytes_written: matrix,
    });
    expect(buffersOf(rows).columns.bytes_written).toBe(0);
  });
});

onSimulator(`multiprocessors${unless}`, () => {
  test('change no bit, whatever their number', async () => {
    const [few, many] = await Promise.all(
      ['1', '200'].map((count) => resultsOf(runs, { CUDASIM_SMS: count, CUDASIM_SEED: count })),
    );
    expect(few).toHaveLength(runs.length);
    expect(new Set(few).size).toBe(runs.length);
    expect(many).toEqual(few);
  });
});
