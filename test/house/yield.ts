/** Finds generators that are made and never run: a forgotten `yield*` type-checks and does nothing. */
import { dirname, join, resolve } from "node:path";
import ts from "typescript";
import { ROOT } from "../../lib/cli/setup.ts";
import { nodes, place, type SourceText } from "./source.ts";

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  allowImportingTsExtensions: true,
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  types: [],
  // Without the DOM, which takes longer to load than all of the project.
  lib: ["lib.esnext.d.ts"],
};

/** TypeScript's own declarations, parsed once for all programs. */
const libraries = new Map<string, ts.SourceFile | undefined>();

/** A program of these files alone: packages stay unresolved, for none of them makes a Proc and they are slow to load. */
function programOf(sources: readonly SourceText[]): ts.Program {
  const texts = new Map(sources.map((s) => [resolve(ROOT, s.path), s]));
  const host = ts.createCompilerHost(OPTIONS);
  const readLibrary = host.getSourceFile;
  host.getCurrentDirectory = () => ROOT;
  host.fileExists = (path) => texts.has(path) || ts.sys.fileExists(path);
  host.getSourceFile = (path, ...rest) => {
    const source = texts.get(resolve(ROOT, path));
    if (source !== undefined) return ts.createSourceFile(path, source.text, ts.ScriptTarget.ESNext, true);
    if (!libraries.has(path)) libraries.set(path, readLibrary.call(host, path, ...rest));
    return libraries.get(path);
  };
  host.resolveModuleNameLiterals = (literals, containing) =>
    literals.map(({ text }) => {
      const target = text === "hmmlab" ? join(ROOT, "lib/mod.ts") : resolve(dirname(containing), text);
      if (!texts.has(target)) return { resolvedModule: undefined };
      return { resolvedModule: { resolvedFileName: target, extension: ts.Extension.Ts } };
    });
  return ts.createProgram([...texts.keys()], OPTIONS, host);
}

/**
 * Every place where a generator is made and can never run.
 *
 * @param sources Files that import each other by relative paths, or as "hmmlab" when lib/mod.ts is among them.
 * @returns One line for each place.
 */
export function forgottenYields(sources: readonly SourceText[]): string[] {
  const program = programOf(sources);
  const checker = program.getTypeChecker();
  const faults: string[] = [];
  for (const { path } of sources) {
    const file = program.getSourceFile(resolve(ROOT, path));
    if (file === undefined) throw new Error(`Cannot check ${path}: it did not enter the program`);
    for (const node of nodes(file)) {
      const fault = faultOf(node, checker);
      if (fault !== null) faults.push(`${place(node)}: ${fault}: ${oneLine(node)}`);
    }
  }
  return faults;
}

function oneLine(node: ts.Node): string {
  const text = node.getText().replace(/\s+/g, " ");
  return text.length > 60 ? text.slice(0, 57) + "..." : text;
}

/** Whether a type is a generator's, or a union in which one occurs (`Proc | undefined` of an optional hook). */
function makesGenerator(type: ts.Type): boolean {
  if (type.isUnion()) return type.types.some(makesGenerator);
  const name = type.symbol?.name;
  return name === "Generator" || name === "AsyncGenerator";
}

function isGenerator(type: ts.Type): boolean {
  if (type.isUnion()) return type.types.every(isGenerator);
  return makesGenerator(type);
}

/** What is wrong with a node, or null. */
function faultOf(node: ts.Node, checker: ts.TypeChecker): string | null {
  const dropped = runsNowhere(node, checker);
  if (dropped !== null) return dropped;
  if (givenWhereVoidIsExpected(node, checker)) return "a generator function where the caller expects void";
  return null;
}

/** Why the value of a generator expression is lost where it stands, or null. */
function runsNowhere(node: ts.Node, checker: ts.TypeChecker): string | null {
  // Wrappers hand their operand on: the operand itself is looked at, so the fault is told once.
  if (!ts.isExpression(node) || handsOn(node)) return null;
  const loss = lossAt(node);
  if (loss === null) return null;
  const type = checker.getTypeAtLocation(node);
  // `if (actor.proc)` asks whether there is one; a call, or a value that is always there, asks nothing.
  const means = loss.asks && !ts.isCallExpression(node) ? isGenerator(type) : makesGenerator(type);
  return means ? loss.why : null;
}

function handsOn(node: ts.Expression): boolean {
  return ts.isParenthesizedExpression(node) || ts.isAsExpression(node) || ts.isNonNullExpression(node) ||
    ts.isSatisfiesExpression(node) || ts.isTypeAssertionExpression(node) ||
    ts.isConditionalExpression(node) ||
    ts.isYieldExpression(node) || ts.isAwaitExpression(node) ||
    (ts.isBinaryExpression(node) &&
      (isLogical(node.operatorToken.kind) || isAssignment(node.operatorToken.kind) || isComma(node)));
}

function isLogical(kind: ts.SyntaxKind): boolean {
  return kind === ts.SyntaxKind.AmpersandAmpersandToken || kind === ts.SyntaxKind.BarBarToken ||
    kind === ts.SyntaxKind.QuestionQuestionToken;
}

function isAssignment(kind: ts.SyntaxKind): boolean {
  return kind >= ts.SyntaxKind.FirstAssignment && kind <= ts.SyntaxKind.LastAssignment;
}

function isComma(node: ts.BinaryExpression): boolean {
  return node.operatorToken.kind === ts.SyntaxKind.CommaToken;
}

interface Loss {
  readonly why: string;
  /** True where the value is only asked whether it is there. */
  readonly asks: boolean;
}

const lost = (why: string): Loss => ({ why, asks: false });
const asked: Loss = { why: "a generator taken for a truth value", asks: true };

/** How the place where an expression stands loses its value, or null when it hands it on or keeps it. */
function lossAt(node: ts.Expression): Loss | null {
  const parent = node.parent;
  if (ts.isExpressionStatement(parent)) return lost("a generator that nobody runs");
  if (ts.isForStatement(parent)) {
    if (parent.condition === node) return asked;
    return parent.statement === (node as ts.Node) ? null : lost("a generator that nobody runs");
  }
  if (ts.isYieldExpression(parent)) {
    return parent.asteriskToken === undefined
      ? lost("yield without a star hands the generator out unrun")
      : null;
  }
  if (ts.isAwaitExpression(parent)) return lost("await does not run a generator");
  if (ts.isVoidExpression(parent) || ts.isTypeOfExpression(parent) || ts.isDeleteExpression(parent)) {
    return lost("a generator that nobody runs");
  }
  if (ts.isPrefixUnaryExpression(parent)) {
    return parent.operator === ts.SyntaxKind.ExclamationToken
      ? asked
      : lost("a generator taken for a number");
  }
  if (ts.isTemplateSpan(parent)) return lost("a generator taken for a string");
  if (ts.isIfStatement(parent) || ts.isWhileStatement(parent) || ts.isDoStatement(parent)) return asked;
  if (ts.isSwitchStatement(parent)) return lost("a generator taken for a value");
  if (ts.isConditionalExpression(parent)) return parent.condition === node ? asked : lossAt(parent);
  if (ts.isBinaryExpression(parent)) return lossInBinary(node, parent);
  if (
    ts.isParenthesizedExpression(parent) || ts.isAsExpression(parent) || ts.isNonNullExpression(parent) ||
    ts.isSatisfiesExpression(parent) || ts.isTypeAssertionExpression(parent)
  ) return lossAt(parent);
  return null;
}

function lossInBinary(node: ts.Expression, parent: ts.BinaryExpression): Loss | null {
  const kind = parent.operatorToken.kind;
  if (isAssignment(kind)) return null;
  if (isComma(parent)) return parent.left === node ? lost("a generator that nobody runs") : lossAt(parent);
  if (isLogical(kind)) {
    const isLeft = parent.left === node;
    if (isLeft && kind === ts.SyntaxKind.AmpersandAmpersandToken) return asked;
    // The left of `||` and `??` is also the value of the whole.
    return lossAt(parent) ?? (isLeft && kind === ts.SyntaxKind.BarBarToken ? asked : null);
  }
  const compares = kind === ts.SyntaxKind.EqualsEqualsEqualsToken ||
    kind === ts.SyntaxKind.ExclamationEqualsEqualsToken || kind === ts.SyntaxKind.InstanceOfKeyword;
  // Two generators, or a generator and undefined, may be compared; two results may not without running them.
  if (compares && !ts.isCallExpression(node)) return null;
  return lost("a generator taken for a value");
}

/**
 * Whether a generator function stands where one that answers nothing is asked for: the caller would make
 * a generator and drop it. TypeScript allows it because any result may be ignored.
 */
function givenWhereVoidIsExpected(node: ts.Node, checker: ts.TypeChecker): boolean {
  if (ts.isMethodDeclaration(node) && node.asteriskToken !== undefined) {
    const name = node.name.getText();
    return heirsOf(node.parent, checker).some((type) => {
      const property = type.getProperty(name);
      return property !== undefined && answersVoid(checker.getTypeOfSymbolAtLocation(property, node));
    });
  }
  if (!ts.isExpression(node) || !isHandedOver(node)) return false;
  const expected = checker.getContextualType(node);
  if (expected === undefined || !answersVoid(expected)) return false;
  return checker.getTypeAtLocation(node).getCallSignatures().some((s) => makesGenerator(s.getReturnType()));
}

/** The types that say what a method's callers expect: of the object literal, or of the class's parents. */
function heirsOf(owner: ts.Node, checker: ts.TypeChecker): ts.Type[] {
  if (ts.isObjectLiteralExpression(owner)) {
    const expected = checker.getContextualType(owner);
    return expected === undefined ? [] : [expected];
  }
  if (!ts.isClassLike(owner)) return [];
  return (owner.heritageClauses ?? []).flatMap((clause) =>
    clause.types.map((type) => checker.getTypeAtLocation(type))
  );
}

/** Whether an expression is an argument, or the value of a variable, a property or an assignment. */
function isHandedOver(node: ts.Expression): boolean {
  const parent = node.parent;
  if (ts.isCallExpression(parent) || ts.isNewExpression(parent)) return parent.expression !== node;
  if (
    ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent) || ts.isPropertyDeclaration(parent)
  ) {
    return parent.initializer === node;
  }
  return ts.isBinaryExpression(parent) && parent.right === node &&
    parent.operatorToken.kind === ts.SyntaxKind.EqualsToken;
}

function answersVoid(type: ts.Type): boolean {
  const signatures = signaturesOf(type);
  return signatures.length > 0 &&
    signatures.every((s) => (s.getReturnType().flags & (ts.TypeFlags.Void | ts.TypeFlags.Undefined)) !== 0);
}

/** The call signatures of a type, those of each member of a union (`Hook | undefined`) together. */
function signaturesOf(type: ts.Type): readonly ts.Signature[] {
  return type.isUnion() ? type.types.flatMap((t) => t.getCallSignatures()) : type.getCallSignatures();
}
