#!/usr/bin/env node
import { buildCommand } from './commands/build';
import { run } from './program';

// `build` works without the addon, which all other commands need. So they are imported late.
async function main(args: readonly string[]): Promise<number> {
  if (args[0] === 'build') return run(args, [buildCommand()]);
  const { serve, serveArgument } = await import('./subjects/rivals/served.js');
  if (args[0] === serveArgument) {
    const { onnxruntimeRivals } = await import('./subjects/rivals/onnxruntime.js');
    await serve(args[1], onnxruntimeRivals);
    return 0;
  }
  const [{ benchCommand }, { infoCommand }, { verifyCommand }, { rivals }] = await Promise.all([
    import('./commands/bench.js'),
    import('./commands/info.js'),
    import('./commands/verify.js'),
    import('./subjects/rivals/index.js'),
  ]);
  return run(args, [benchCommand(rivals), infoCommand(), verifyCommand(), buildCommand()]);
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 1;
  },
);
