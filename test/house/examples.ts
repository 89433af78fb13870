/** The examples of docstrings and README: found, type-checked and run where they stand. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { stripVTControlCharacters } from "node:util";
import ts from "typescript";
import { ROOT } from "../../lib/cli/setup.ts";
import { nodes, parse, type SourceText } from "./source.ts";

/** One fenced example. */
export interface Example {
  /** The file it stands in, from the root. */
  readonly path: string;
  /** The line of its first line of code, from 1. */
  readonly line: number;
  /** Its code. */
  readonly text: string;
}

/** What a fence looks like in a docstring and in Markdown. */
const FENCE = { ts: /^\s*\*\s*```(?:ts|typescript)\s*$/, md: /^```(?:ts|typescript)\s*$/ };

/**
 * The ```ts examples of a file.
 *
 * @param source A TypeScript file (its docstrings are read) or a Markdown file.
 * @returns The examples in their order; an unclosed one reaches to the end of the file.
 */
export function examplesOf(source: SourceText): Example[] {
  const isMarkdown = source.path.endsWith(".md");
  const opens = isMarkdown ? FENCE.md : FENCE.ts;
  const lines = source.text.split("\n").map((line) => line.replace(/\r$/, ""));
  const examples: Example[] = [];
  for (let i = 0; i < lines.length; i++) {
    if (!opens.test(lines[i])) continue;
    const code: string[] = [];
    const line = i + 2;
    for (i++; i < lines.length; i++) {
      const bare = isMarkdown ? lines[i] : lines[i].replace(/^\s*\* ?/, "");
      if (bare.trimEnd() === "```") break;
      code.push(bare);
    }
    examples.push({ path: source.path, line, text: code.join("\n") });
  }
  return examples;
}

/**
 * The module that an example is run as: its code on the very lines where it stands, after an import of
 * those exports of its own file that it uses, unless it imports anything itself (so does `deno test --doc`).
 */
function moduleOf(example: Example, exported: readonly string[]): string {
  const tree = parse(example);
  const importsSomething = tree.statements.some(ts.isImportDeclaration);
  let head = "export {};";
  if (!importsSomething && exported.length > 0) {
    const used = new Set<string>();
    const declared = new Set<string>();
    for (const node of nodes(tree)) {
      if (!ts.isIdentifier(node)) continue;
      const parent = node.parent;
      if (ts.isPropertyAccessExpression(parent) && parent.name === node) continue;
      const declares = (ts.isVariableDeclaration(parent) || ts.isFunctionDeclaration(parent) ||
        ts.isClassDeclaration(parent) || ts.isInterfaceDeclaration(parent)) && parent.name === node;
      (declares ? declared : used).add(node.text);
    }
    const names = exported.filter((name) => used.has(name) && !declared.has(name));
    const url = pathToFileURL(join(ROOT, example.path)).href;
    if (names.length > 0) head += ` import { ${names.join(", ")} } from ${JSON.stringify(url)};`;
  }
  return head + "\n".repeat(Math.max(1, example.line - 1)) + example.text + "\n";
}

/** The names that a module exports by its own declarations. */
function exportsOf(source: SourceText): string[] {
  return parse(source).statements.flatMap((statement) => {
    const isExported = ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some((m) => m.kind === ts.SyntaxKind.ExportKeyword);
    if (!isExported) return [];
    if (ts.isVariableStatement(statement)) {
      return statement.declarationList.declarations.map((d) => d.name.getText());
    }
    const name = (statement as unknown as ts.DeclarationStatement).name;
    return name === undefined ? [] : [name.getText()];
  });
}

/** What running examples came to. */
export interface ExampleRun {
  /** How many were type-checked and run. */
  readonly ran: number;
  /** One text for each fault, beginning with the file and line of the example. */
  readonly faults: readonly string[];
}

/**
 * Type-checks the examples of some files, then runs each in a folder of its own making.
 *
 * @param sources TypeScript files of lib/ and Markdown files, by their true paths.
 * @returns What ran and what failed; when types are wrong nothing is run.
 */
export async function runExamples(sources: readonly SourceText[]): Promise<ExampleRun> {
  const folder = mkdtempSync(join(tmpdir(), "hmmlab-examples-"));
  try {
    const modules = new Map<string, Example>();
    for (const source of sources) {
      const exported = source.path.endsWith(".ts") ? exportsOf(source) : [];
      for (const example of examplesOf(source)) {
        const name = `${example.path.replaceAll("/", "~")}~${example.line}.ts`;
        writeFileSync(join(folder, name), moduleOf(example, exported));
        modules.set(name, example);
      }
    }
    if (modules.size === 0) return { ran: 0, faults: [] };
    const faults = await typeFaults(folder, modules);
    if (faults.length > 0) return { ran: 0, faults };
    return await runModules(folder, modules);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs deno with the project's import map; colours and the paths of temporary modules taken out. */
function deno(
  folder: string,
  args: readonly string[],
  cwd: string,
): Promise<{ ok: boolean; output: string }> {
  const [command, ...rest] = args;
  const all = [command, "--frozen", `--config=${join(ROOT, "deno.json")}`, ...rest];
  return new Promise((done, failed) => {
    // Not synchronously: a worker of vitest that does not answer for a minute is given up.
    execFile(process.execPath, all, { cwd, maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== "number") failed(error);
      else done({ ok: error === null, output: named(stripVTControlCharacters(stdout + stderr), folder) });
    });
  });
}

/** Puts the file in which an example stands for the module that it was made into; paths from the root. */
function named(text: string, folder: string): string {
  const url = pathToFileURL(folder).href.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const modules = new RegExp(`${url}/([^:\\s]+?)~\\d+\\.ts`, "g");
  return text.replace(modules, (_, path: string) => path.replaceAll("~", "/"))
    .replaceAll(`${pathToFileURL(ROOT).href}/`, "");
}

/** An example may name what it does not use; everything else that TypeScript says counts. */
const MAY_BE_UNUSED = /^TS(6133|6192|6196|6198) /;

async function typeFaults(folder: string, modules: ReadonlyMap<string, Example>): Promise<string[]> {
  const paths = [...modules.keys()].map((name) => join(folder, name));
  const { ok, output } = await deno(folder, ["check", "--quiet", ...paths], ROOT);
  if (ok) return [];
  const errors = output.replace(/\n\n(Found \d+ errors?\.|error: Type checking failed)[^]*$/, "");
  const said = errors.split(/^(?=TS\d+ \[ERROR\])/m).filter((part) => part.startsWith("TS"));
  if (said.length === 0) return [output];
  return said.filter((part) => !MAY_BE_UNUSED.test(part)).map((part) => {
    const where = /at (?:file:\/\/)?([^\s:]+:\d+):\d+/.exec(part)?.[1] ?? "an example";
    return `${where}: ${part.trim()}`;
  });
}

async function runModules(folder: string, modules: ReadonlyMap<string, Example>): Promise<ExampleRun> {
  // Examples may save files: that happens in a folder that goes away.
  const cwd = join(folder, "cwd");
  mkdirSync(cwd);
  const results = join(folder, "results.json");
  const runner = fileURLToPath(new URL("./run_examples.ts", import.meta.url));
  const urls = [...modules.keys()].map((name) => pathToFileURL(join(folder, name)).href);
  const { ok, output } = await deno(folder, ["run", "-A", "--no-check", runner, results, ...urls], cwd);
  if (!ok) return { ran: 0, faults: [`the examples could not be run: ${output}`] };
  return { ran: urls.length, faults: faultsIn(results, folder, modules) };
}

function faultsIn(results: string, folder: string, modules: ReadonlyMap<string, Example>): string[] {
  const failed = JSON.parse(readFileSync(results, "utf8")) as { url: string; error: string }[];
  return failed.map(({ url, error }) => {
    const example = modules.get(decodeURIComponent(url.slice(url.lastIndexOf("/") + 1)));
    return `${example?.path}:${example?.line}: ${named(error, folder)}`;
  });
}
