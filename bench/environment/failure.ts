/** An error whose message is all that the user needs: it is shown without a stack. */
export class Failure extends Error {}
