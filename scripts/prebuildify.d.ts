declare module 'prebuildify' {
  /** Builds a module by `nodeGyp`, and copies it to `prebuilds` of `out`: see its README. */
  export default function prebuildify(
    options: Readonly<Record<string, unknown>>,
    done: (error: Error | null) => void,
  ): void;
}
