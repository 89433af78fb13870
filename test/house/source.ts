/** The project's own files, as the house tests read them. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import ts from "typescript";
import { ROOT } from "../../lib/cli/setup.ts";

/** A TypeScript file of the project: its path from the root, with forward slashes, and its text. */
export interface SourceText {
  readonly path: string;
  readonly text: string;
}

/** Every TypeScript file under a folder of the root, sorted by path; none when the folder does not exist. */
export function sourcesUnder(folder: "lib" | "test"): SourceText[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
    .filter((path) => path.endsWith(".ts"))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
}

/** A syntax tree of one file, with parents. */
export function parse(source: SourceText): ts.SourceFile {
  return ts.createSourceFile(source.path, source.text, ts.ScriptTarget.ESNext, true, ts.ScriptKind.TS);
}

/** Where a node starts, as an editor takes it: `lib/x.ts:12`. */
export function place(node: ts.Node): string {
  const file = node.getSourceFile();
  const path = resolve(ROOT, file.fileName).slice(ROOT.length + 1);
  return `${path}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1}`;
}

/** Every node of a tree, parents before children. */
export function* nodes(root: ts.Node): Generator<ts.Node, void, void> {
  const open: ts.Node[] = [root];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    yield node;
    const children: ts.Node[] = [];
    ts.forEachChild(node, (child) => {
      children.push(child);
    });
    for (let i = children.length - 1; i >= 0; i--) open.push(children[i]);
  }
}

/** One import, export-from, `import()` or import type, with the module it names and its line. */
export interface ImportedModule {
  readonly specifier: string;
  readonly line: number;
}

/** Every module that a file names, wherever in the file. */
export function importsOf(source: SourceText): ImportedModule[] {
  const lines = parse(source);
  return ts.preProcessFile(source.text, true, true).importedFiles.map((file) => ({
    specifier: file.fileName,
    line: lines.getLineAndCharacterOfPosition(file.pos).line + 1,
  }));
}
