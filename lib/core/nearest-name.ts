/**
 * The known name that an unknown one probably means; undefined if there is none. The unknown name may be
 * spelt as in Python, begin or end a known name, begin with one, or have one or two wrong letters.
 */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const wanted = lettersOf(name);
  if (wanted.length < 3 || wanted.length > 32) return undefined;
  return [...known].find((each) => {
    const letters = lettersOf(each);
    const isAffix =
      wanted.startsWith(letters) || letters.startsWith(wanted) || letters.endsWith(wanted);
    return isAffix || isWithin(wanted.length < 5 ? 1 : 2, wanted, letters);
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
