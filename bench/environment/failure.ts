/** An error whose message says all that its reader needs: no place in the code. */
export class Failure extends Error {}
