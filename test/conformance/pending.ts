/**
 * Programs that the lab does not play as Linux did yet, beside those of DEVIATIONS.md, with the reason. A program that
 * agrees once must go on agreeing: this list only ever shrinks.
 */
export const PENDING: Readonly<Record<string, string>> = {
  "rnd-599": "events: the early copy of a pinned page at fork is writable if the vma is",
  "coh-2000534": "events: a fork enters the child's vma directly after its parent's in a file's reverse map",
};
