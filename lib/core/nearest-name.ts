/**
 * The known name that an unknown one probably means. It may be spelt as in Python, be the end of a
 * known name, have another end, or have one or two wrong letters. Undefined if there is none.
 */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const given = lettersOf(name);
  if (given.length < 3 || given.length > 32) return undefined;
  return [...known].find((each) => {
    const letters = lettersOf(each);
    const isPart =
      given.startsWith(letters) || letters.startsWith(given) || letters.endsWith(given);
    return isPart || isWithin(given.length < 5 ? 1 : 2, given, letters);
  });
}

function lettersOf(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z]/g, '');
}

/** Whether at most `edits` edits turn a into b. An edit adds, drops or replaces a letter. */
function isWithin(edits: number, a: string, b: string): boolean {
  if (a === '' || b === '') return a.length + b.length <= edits;
  const [restOfA, restOfB] = [a.slice(1), b.slice(1)];
  if (a.startsWith(b.charAt(0))) return isWithin(edits, restOfA, restOfB);
  const rests = [[restOfA, b], [a, restOfB], [restOfA, restOfB]] as const; // prettier-ignore
  return edits > 0 && rests.some(([one, other]) => isWithin(edits - 1, one, other));
}
