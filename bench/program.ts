import { Command, CommanderError } from 'commander';

import { benchCommand } from './commands/bench';
import { infoCommand } from './commands/info';
import { packageVersion } from './package';
import type { Rival } from './rivals/rival';
import { MissingRival } from './rivals/rival';
import { WrongAnswer } from './verify';

/** Runs the command line of `args`; returns the exit code: 0, 1 for an error, 2 for wrong usage. */
export async function run(args: readonly string[], rivals: readonly Rival[]): Promise<number> {
  const program = new Command('fused-rmsnorm')
    .description('RMSNorm for Node.js: how fast it is here, and what it runs on.')
    .version(packageVersion)
    .addHelpText('after', '\nExit codes: 0, 1 for a wrong answer or an error, 2 for wrong usage.');
  for (const command of [benchCommand(rivals), infoCommand()]) {
    program.addCommand(command.copyInheritedSettings(program).exitOverride());
  }
  program.exitOverride();
  try {
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    // What is wrong is said in the message; of other errors it matters where they come from.
    const isExpected = error instanceof WrongAnswer || error instanceof MissingRival;
    process.stderr.write(`${isExpected ? error.message : String((error as Error).stack)}\n`);
    return 1;
  }
}
