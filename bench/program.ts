import { Command, CommanderError } from 'commander';

import { Failure } from './environment/failure';
import { packageVersion } from './environment/package';

/**
 * Runs the command that the command line `args` names. Returns the exit code: 0, 1 for an error, 2
 * for wrong usage.
 */
export async function run(args: readonly string[], commands: readonly Command[]): Promise<number> {
  const program = new Command('fused-rmsnorm')
    .description(
      'RMSNorm for Node.js: measures its speed, shows what it runs on, and checks its results.',
    )
    .version(packageVersion)
    .addHelpText('after', '\nExit codes: 0, 1 for a wrong answer or an error, 2 for wrong usage.');
  for (const command of commands) {
    program.addCommand(command.copyInheritedSettings(program).exitOverride());
  }
  program.exitOverride();
  try {
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    // An unexpected error is shown with its stack, to tell where it comes from.
    const text = error instanceof Failure ? error.message : String((error as Error).stack);
    process.stderr.write(`${text}\n`);
    return 1;
  }
}
