declare module 'node-gyp-build' {
  /** Loads the addon of the package at `root`: of build/Release, else of prebuilds. */
  export default function nodeGypBuild(root: string): unknown;
}
