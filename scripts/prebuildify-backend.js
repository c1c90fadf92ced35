#!/usr/bin/env node
// What prebuildify runs in place of node-gyp: nothing, since scripts/prebuild.ts has built the module.
