declare module 'prebuildify' {
  /**
   * Builds a module with `nodeGyp`, and copies it to the folder `prebuilds` of `out`: see its README.
   */
  export default function prebuildify(
    options: Readonly<Record<string, unknown>>,
    done: (error: Error | null) => void,
  ): void;
}
