/** Hashes of the results of some calls, by the names of the calls. */
export function bitsOf(lib: object, device?: string): Record<string, string>;
