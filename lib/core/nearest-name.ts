/**
 * The known name that an unknown name probably means; undefined if there is none. The unknown name may be a
 * known name in the spelling of Python (`weight_offset`), or with one or two wrong letters. It may also be
 * the beginning or the end of a known name, or begin with a known name.
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
