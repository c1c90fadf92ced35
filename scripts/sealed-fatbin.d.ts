/** The file of this name that a build makes of a fatbin. */
export function sealFatbin(name: string, fatbin: Buffer): Buffer;

/** The fatbin in a file. */
export function fatbinOf(file: Buffer): Buffer;
