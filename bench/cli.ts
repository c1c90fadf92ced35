#!/usr/bin/env node
import { run } from './program';
import { rivals } from './rivals/index';

void run(process.argv.slice(2), rivals).then((code) => {
  process.exitCode = code;
});
