#!/usr/bin/env node
// prebuildify runs this in place of node-gyp. It does nothing: scripts/prebuild.ts has built the module.
