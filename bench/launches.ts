// What a launch costs besides the driver: on a simulated one that runs no kernels.

import { createRequire } from 'node:module';

import { isSimulated } from './cuda';
import { measure, type Contender } from './measure';
import { machine } from './report';
import { shipped } from './shipped';

const { createPlan, DeviceBuffer, devices, rmsNorm, Stream } = shipped;

interface Launches {
  /** See native/launches.h. */
  timeLaunches(ordinal: number, hiddenSize: number, count: number): number;
}

const hiddenSize = 4096;
const launches = createRequire(__filename)('../build/Release/rmsnorm_bench.node') as Launches;

/** The host's time for calls that are enqueued; what the simulator does with them comes after it. */
function enqueued(name: string, call: () => void): Contender {
  return {
    name,
    run: (repeats) => {
      const start = process.hrtime.bigint();
      for (let i = 0; i < repeats; ++i) call();
      const elapsed = Number(process.hrtime.bigint() - start);
      Stream.default().synchronize();
      return elapsed;
    },
  };
}

function main(): void {
  const [device] = devices();
  if (device === undefined || !isSimulated(device) || process.env['CUDASIM_EXECUTE'] !== '0') {
    console.error('Needs a simulated GPU that executes nothing: npm run bench:launches');
    process.exitCode = 1;
    return;
  }
  for (const [name, value] of Object.entries(machine())) console.log(`${name}: ${value}`);

  const ones = () => DeviceBuffer.from(new Float32Array(hiddenSize).fill(1));
  const [x, weight, out] = [ones(), ones(), ones()] as const;
  const plan = createPlan({ rows: 1, weight });
  const timings = measure(
    [
      enqueued('plan.forward', () => {
        plan.forward(x, out);
      }),
      enqueued('rmsNorm', () => {
        rmsNorm(x, weight, { out });
      }),
      { name: 'driver', run: (count) => launches.timeLaunches(0, hiddenSize, count) },
    ],
    { rounds: 201, visitMs: 0.3 },
  );
  const driver = timings.get('driver')?.median ?? NaN;
  console.log(`the driver: ${driver.toFixed(0)} ns a launch`);
  for (const name of ['plan.forward', 'rmsNorm']) {
    const { median = NaN } = timings.get(name) ?? {};
    const own = (median - driver).toFixed(0);
    console.log(`${name}: ${median.toFixed(0)} ns, of which ${own} are not the driver's`);
  }
}

main();
