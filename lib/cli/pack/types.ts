/** Whether the package's declarations can be read by the TypeScript that tslab brings, which is an old one. */
import { realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative, sep } from "node:path";
import type * as TypeScript from "typescript";
import { ROOT } from "../setup.ts";

/** What was found in the declarations. */
export interface TypesFound {
  /** The version of TypeScript that read them. */
  readonly version: string;
  /** How many declaration files of the package the public face reaches. */
  readonly files: number;
  /** One line for each error, and for each type that comes from another package. */
  readonly faults: readonly string[];
}

/**
 * Reads the public declarations with TypeScript 5.0.4 as tslab does, and as a Node project does, library checks on.
 *
 * @param folder the package
 * @returns what is wrong with them; a type of another package counts, since that package's own declarations may not
 * pass, and a reader of the public face should not have to know it
 */
export function checkTypes(folder: string): TypesFound {
  const tslab = realpathSync(join(ROOT, "node_modules", "tslab", "package.json"));
  const ts = createRequire(tslab)("@tslab/typescript-for-tslab") as typeof TypeScript;
  const shared = { strict: true, skipLibCheck: false, noEmit: true, target: ts.ScriptTarget.ES2022 };
  const ways: TypeScript.CompilerOptions[] = [
    {
      ...shared,
      module: ts.ModuleKind.ES2022,
      // Node10, under the name that both versions of TypeScript have.
      moduleResolution: 2 as TypeScript.ModuleResolutionKind,
      lib: ["lib.es2022.d.ts"],
      types: ["node"],
      typeRoots: [join(ROOT, "node_modules", "@types")],
    },
    {
      ...shared,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: [],
    },
  ];
  const faults = new Set<string>(), base = realpathSync(folder);
  let files = 0;
  for (const options of ways) {
    const program = ts.createProgram([join(base, "lib", "mod.d.ts")], options);
    for (const d of ts.getPreEmitDiagnostics(program)) {
      const line = d.file && d.start !== undefined
        ? d.file.getLineAndCharacterOfPosition(d.start).line + 1
        : 0;
      const where = d.file ? `${relative(base, d.file.fileName)}:${line}: ` : "";
      faults.add(where + ts.flattenDiagnosticMessageText(d.messageText, " "));
    }
    const own = program.getSourceFiles().filter((file) => file.fileName.startsWith(base + sep));
    files = own.length;
    for (const file of own) {
      for (const { fileName } of ts.preProcessFile(file.text, true, true).importedFiles) {
        if (!/^(\.|node:)/.test(fileName)) {
          faults.add(`${relative(base, file.fileName)}: names types of ${fileName}`);
        }
      }
    }
  }
  return { version: ts.version, files, faults: [...faults] };
}
