// Measures the cost of a launch besides the driver's, on a simulated driver that runs no kernels.

import { createPlan, DeviceBuffer, devices, rmsNorm, Stream } from 'fused-rmsnorm';

import { isSimulated } from './traffic';
import { describeMachine } from '../environment/machine';
import { measure, timed, type Subject } from '../measure/measure';
import { loadNative } from '../subjects/native';

const hiddenSize = 4096;

/** Measures the host's time to enqueue calls. The simulator processes them afterwards, untimed. */
function enqueued(name: string, call: () => void): Subject {
  return {
    name,
    run: (repeats) => {
      const elapsed = timed(repeats, call);
      Stream.default().synchronize();
      return elapsed;
    },
  };
}

async function main(): Promise<void> {
  const [device] = devices();
  if (device === undefined || !isSimulated(device) || process.env['CUDASIM_EXECUTE'] !== '0') {
    console.error('This needs a simulated GPU that executes nothing. Run: npm run bench:launches');
    process.exitCode = 1;
    return;
  }
  for (const [name, value] of Object.entries(describeMachine()))
    console.log(`${name}: ${String(value)}`);

  const ones = () => DeviceBuffer.from(new Float32Array(hiddenSize).fill(1));
  const [x, weight, out] = [ones(), ones(), ones()] as const;
  const native = loadNative();
  const plan = createPlan({ rows: 1, weight });
  const timings = await measure(
    [
      enqueued('plan.forward', () => {
        plan.forward(x, out);
      }),
      enqueued('rmsNorm', () => {
        rmsNorm(x, weight, { out });
      }),
      { name: 'driver', run: (count) => native.timeLaunches(0, hiddenSize, count) },
    ],
    // Many rounds, so that most run compiled code. Short ones, so that the simulator only queues
    // work.
    { rounds: 4001, ms: 8000 },
  );
  const [planned, direct, driver] = timings.map(({ median }) => median) as [number, number, number];
  console.log(`driver: ${driver.toFixed(0)} ns per launch`);
  for (const [name, median] of Object.entries({ 'plan.forward': planned, rmsNorm: direct })) {
    const own = (median - driver).toFixed(0);
    console.log(`${name}: ${median.toFixed(0)} ns, of which ${own} ns are outside the driver`);
  }
}

void main();
