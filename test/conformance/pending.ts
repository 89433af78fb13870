/**
 * Programs that the lab does not play as Linux did yet, beside those of DEVIATIONS.md, with the reason. A program that
 * agrees once must go on agreeing: this list only ever shrinks.
 */
export const PENDING: Readonly<Record<string, string>> = {};
