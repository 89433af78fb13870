/**
 * Thrown at once when the library is used wrongly: an argument that cannot be meant, a name that nobody
 * knows, an order of calls that makes no sense. What a simulated kernel operation answers is an errno in its
 * result, never this.
 *
 * The message has one shape: "Cannot x: got what was given; what is allowed; what to write instead".
 *
 * @example
 * ```ts
 * function pages(count: number): number {
 *   if (!Number.isInteger(count)) {
 *     throw new UsageError(`Cannot take pages: got ${count}; a count is a whole number; write ${Math.ceil(count)}`);
 *   }
 *   return count;
 * }
 * console.log(pages(3));
 * ```
 */
export class UsageError extends Error {
  /** The name that a stack trace shows. */
  override readonly name: string = "UsageError";
}
