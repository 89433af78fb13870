/** Rows of recorded columns, found by a number in each. */

/**
 * The rows of a table that `pick` takes, by a number in each.
 *
 * @param number a number for each row
 * @param rows how many rows
 * @param pick whether a row is taken
 * @returns the taken rows of each number, in the order of the table
 */
export function rowsBy(
  number: ArrayLike<number>,
  rows: number,
  pick: (row: number) => boolean,
): Map<number, number[]> {
  const found = new Map<number, number[]>();
  for (let i = 0; i < rows; i++) {
    if (!pick(i)) continue;
    const of = found.get(number[i]);
    if (of === undefined) found.set(number[i], [i]);
    else of.push(i);
  }
  return found;
}
