// Checks that no text of the repository uses a phrase that readers stumble over, and says what to write
// instead. Mend all sentences of a kind, then add the kind here, so that it stays mended.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.join(__dirname, '..');

// CHANGELOG.md is history. Recorded figures and the lock file are not prose.
const skipped = /^CHANGELOG\.md$|^package-lock\.json$|^scripts\/check-words\.ts$|^test\/fixtures\//;

/** A space in a phrase also matches a line break, with the marks of a comment before the next word. */
const phrases: readonly (readonly [phrase: string, instead: string])[] = [
  ['\\b[Cc]an not\\b', 'cannot'],
  [
    '(?<=^|[.:;!?] |// |/\\*\\* | \\* |# |[\'"`])Of [a-z]',
    'a sentence that begins with its subject',
  ],
  ['\\b[Bb]ut for\\b', 'except for'],
  ['\\b(is|are|was|were) to be had\\b', 'is available'],
  ['\\b[Ll]et(s|ting)? go of\\b', 'release, dispose of'],
  ['\\b(what|which|who) (is|are) none\\b', 'the noun'],
  ['\\b(is|are) none of\\b', 'is not one of'],
  ['\\b[Ss]uch that\\b', 'so that, with'],
  ['\\bas all that\\b', 'a sentence of its own'],
  ['\\bwhere there (is|are) (no|none)\\b', 'if there is no, without'],
  ['\\b(nothing|none|nobody|anything|all) but\\b', 'only, all except'],
  ['\\bfor but by\\b', 'only by'],
  ['\\bstands? for nothing\\b', 'is empty, is not recorded'],
  ['\\b(there|where)(of|from|in|upon|with)\\b', 'the noun'],
  ['\\b(is|are|was|were|been) lent\\b', 'is acquired'],
  ['\\bwhose turn it is\\b', 'the next'],
  ['\\bat most, and [^.]* is needed\\b', 'requires'],
];

const patterns = phrases.map(
  ([phrase, instead]) => [new RegExp(phrase.replaceAll(' ', '[\\s/*#]+'), 'gm'), instead] as const,
);

const listed = execFileSync(
  'git',
  ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
  {
    cwd: root,
    encoding: 'utf8',
  },
);
for (const file of new Set(listed.split('\0'))) {
  if (file === '' || skipped.test(file)) continue;
  const text = readFileSync(path.join(root, file), 'utf8');
  if (text.includes('\0')) continue; // not a text
  for (const [pattern, instead] of patterns) {
    for (const match of text.matchAll(pattern)) {
      const line = text.slice(0, match.index).split('\n').length;
      console.error(`${file}:${line}: '${match[0].replace(/\s+/g, ' ')}'. Write: ${instead}.`);
      process.exitCode = 1;
    }
  }
}
