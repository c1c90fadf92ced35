declare module 'node-gyp-build' {
  /** Loads the addon of the package at `root`: from build/Release, else from prebuilds. */
  function nodeGypBuild(root: string): unknown;
  namespace nodeGypBuild {
    /** The file that nodeGypBuild() would load. Throws if there is none for this process. */
    function resolve(root: string): string;
  }
  export default nodeGypBuild;
}
