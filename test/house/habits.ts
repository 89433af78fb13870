/** Habits of single files that no linter rule expresses. */
import { posix } from "node:path";
import ts from "typescript";
import { importsOf, nodes, parse, place, type SourceText } from "./source.ts";

/** Rooms that speak with a person, and so may ask what time it is. */
const MAY_ASK_THE_TIME = ["lib/cli/", "lib/notebook/", "lib/lab/"];

/** A file of lib/ longer than this is two files. */
export const MOST_LINES = 450;

/**
 * Uses of `Math.random` and `Date`, which make a run differ from the next with the same seed.
 *
 * @param sources Files of lib/.
 * @returns One line for each use outside the rooms that speak with a person.
 */
export function undeterministic(sources: readonly SourceText[]): string[] {
  const faults: string[] = [];
  for (const source of sources) {
    if (MAY_ASK_THE_TIME.some((room) => source.path.startsWith(room))) continue;
    for (const node of nodes(parse(source))) {
      if (isMathRandom(node)) faults.push(`${place(node)}: Math.random; draw with sim.choose`);
      else if (isDate(node)) faults.push(`${place(node)}: Date; simulated time is the clock's`);
    }
  }
  return faults;
}

function isMathRandom(node: ts.Node): boolean {
  if (ts.isPropertyAccessExpression(node)) {
    return node.name.text === "random" && node.expression.getText() === "Math";
  }
  if (ts.isElementAccessExpression(node)) {
    return node.expression.getText() === "Math" && ts.isStringLiteralLike(node.argumentExpression) &&
      node.argumentExpression.text === "random";
  }
  // const { random } = Math
  return ts.isBindingElement(node) && (node.propertyName ?? node.name).getText() === "random" &&
    ts.isVariableDeclaration(node.parent.parent) && node.parent.parent.initializer?.getText() === "Math";
}

function isDate(node: ts.Node): boolean {
  if (!ts.isIdentifier(node) || node.text !== "Date") return false;
  const parent = node.parent;
  const isMember = (ts.isPropertyAccessExpression(parent) && parent.name === node) ||
    (ts.isPropertyAssignment(parent) && parent.name === node) ||
    (ts.isPropertySignature(parent) && parent.name === node);
  return !isMember || (ts.isPropertyAccessExpression(parent) && parent.expression.getText() === "globalThis");
}

/**
 * Top-level awaits, which keep a module from being loaded by `require`, as tslab's kernel loads it.
 *
 * @param sources Files of lib/.
 * @returns One line for each, lib/cli/ apart, which is only ever run.
 */
export function topLevelAwaits(sources: readonly SourceText[]): string[] {
  const faults: string[] = [];
  for (const source of sources) {
    if (source.path.startsWith("lib/cli/")) continue;
    for (const node of nodes(parse(source))) {
      const waits = ts.isAwaitExpression(node) ||
        (ts.isForOfStatement(node) && node.awaitModifier !== undefined);
      if (waits && !ts.findAncestor(node, ts.isFunctionLike)) faults.push(`${place(node)}: top-level await`);
    }
  }
  return faults;
}

/** Files of lib/ past {@link MOST_LINES} lines. */
export function tooLong(sources: readonly SourceText[]): string[] {
  return sources.filter(({ text }) => text.split("\n").length - 1 > MOST_LINES)
    .map(({ path, text }) => `${path}: ${text.split("\n").length - 1} lines; what is it two of?`);
}

/**
 * Tests that reach the library through lib/mod.ts: a test names the room that it tests, so that it runs
 * without the others.
 *
 * @param sources Files of test/.
 * @returns One line for each such import outside test/public*.
 */
export function testsOfEverything(sources: readonly SourceText[]): string[] {
  const faults: string[] = [];
  for (const source of sources) {
    if (/^test\/public/.test(source.path)) continue;
    for (const { specifier, line } of importsOf(source)) {
      const isAll = specifier === "hmmlab" ||
        posix.join(posix.dirname(source.path), specifier) === "lib/mod.ts";
      if (isAll) faults.push(`${source.path}:${line}: imports ${specifier}; import the room it tests`);
    }
  }
  return faults;
}

/**
 * Files that name something outside the repository, which a clone would not have.
 *
 * @param sources Files of any folder.
 * @returns One line for each.
 */
export function readingOutside(sources: readonly SourceText[]): string[] {
  // Put together here, so that this file is not its own first finding.
  const outside = ["..", "shared"].join("/");
  return sources.filter(({ text }) => text.includes(`${outside}/`)).map(({ path }) =>
    `${path}: names ${outside}`
  );
}
