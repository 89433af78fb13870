/** Notebook files: read, given outputs, written as Jupyter writes them. */
import { readFileSync, writeFileSync } from "node:fs";
import { UsageError } from "../../errors.ts";
import type { Message } from "./session.ts";

/** Data by MIME type: text, or JSON for MIME types that end in json. */
export type MimeData = Readonly<Record<string, unknown>>;

/** What a cell put out, as nbformat 4.5 has it with its text in one piece. */
export type Output =
  | { readonly output_type: "stream"; readonly name: string; readonly text: string }
  | { readonly output_type: "display_data"; readonly data: MimeData; readonly metadata: object }
  | {
    readonly output_type: "execute_result";
    readonly data: MimeData;
    readonly metadata: object;
    readonly execution_count: number | null;
  }
  | {
    readonly output_type: "error";
    readonly ename: string;
    readonly evalue: string;
    readonly traceback: readonly string[];
  };

/** A cell. */
export interface Cell {
  readonly cell_type: "code" | "markdown" | "raw";
  readonly id: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Its text in one piece. */
  readonly source: string;
  /** Of code cells. */
  readonly execution_count?: number | null;
  /** Of code cells. */
  readonly outputs?: readonly Output[];
}

/** A notebook. */
export interface Notebook {
  readonly cells: readonly Cell[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly nbformat: number;
  readonly nbformat_minor: number;
}

/** Joins the lines into which Jupyter splits text. */
function joined(x: unknown): unknown {
  return Array.isArray(x) && x.every((line) => typeof line === "string") ? x.join("") : x;
}

function isJson(mime: string): boolean {
  return /[/+]json$/.test(mime);
}

function joinedData(data: MimeData): MimeData {
  return Object.fromEntries(Object.entries(data).map(([m, v]) => [m, isJson(m) ? v : joined(v)]));
}

/**
 * Reads a notebook.
 *
 * @param path of the file
 * @returns the notebook, every text in one piece
 * @throws {UsageError} If it is no notebook of format 4
 */
export function readNotebook(path: string): Notebook {
  let raw: Notebook;
  try {
    raw = JSON.parse(readFileSync(path, "utf8")) as Notebook;
  } catch (error) {
    throw new UsageError(`Cannot read ${path}: ${error instanceof Error ? error.message : error}`);
  }
  if (raw?.nbformat !== 4 || !Array.isArray(raw.cells)) {
    throw new UsageError(`Cannot read ${path}: it is no Jupyter notebook of format 4`);
  }
  const cells = raw.cells.map((cell): Cell => {
    const source = joined(cell.source) as string;
    if (cell.cell_type !== "code") return { ...cell, source };
    const outputs = ((cell.outputs ?? []) as readonly Output[]).map((output): Output => {
      if (output.output_type === "stream") return { ...output, text: joined(output.text) as string };
      return output.output_type === "error" ? output : { ...output, data: joinedData(output.data) };
    });
    return { ...cell, source, outputs };
  });
  return { ...raw, cells };
}

/** Splits text after each newline, as Jupyter does so that reviewers see lines. */
function lines(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+/g) ?? [];
}

/** Keys in alphabetical order all through, as Jupyter writes them. */
function sorted(x: unknown): unknown {
  if (Array.isArray(x)) return x.map(sorted);
  if (typeof x !== "object" || x === null) return x;
  return Object.fromEntries(Object.keys(x).sort().map((k) => [k, sorted((x as Record<string, unknown>)[k])]));
}

/**
 * The text of a notebook's file, as Jupyter itself would write it.
 *
 * @param notebook what to write
 * @returns JSON with one space of indent, texts split into lines, keys sorted
 */
export function notebookText(notebook: Notebook): string {
  const cells = notebook.cells.map((cell) => ({
    ...cell,
    source: lines(cell.source),
    ...(cell.outputs && {
      outputs: cell.outputs.map((output) => {
        if (output.output_type === "stream") return { ...output, text: lines(output.text) };
        if (output.output_type === "error") return output;
        const data = Object.entries(output.data).map(([m, v]) => [
          m,
          !isJson(m) && typeof v === "string" && !m.startsWith("image/png") ? lines(v) : v,
        ]);
        return { ...output, data: Object.fromEntries(data) };
      }),
    }),
  }));
  return JSON.stringify(sorted({ ...notebook, cells }), null, 1) + "\n";
}

/** Writes a notebook's file. */
export function writeNotebook(path: string, notebook: Notebook): void {
  writeFileSync(path, notebookText(notebook));
}

/** What messages on iopub carry, all kinds together. */
interface Content {
  readonly data?: MimeData;
  readonly metadata?: object;
  readonly transient?: { readonly display_id?: string };
  readonly name?: string;
  readonly text?: string;
  readonly execution_count?: number;
  readonly ename?: string;
  readonly evalue?: string;
  readonly traceback?: readonly string[];
}

/** Collects what the kernel says into outputs: streams are joined, displays replaced by their updates. */
export class Outputs {
  /** Of each cell, in order. */
  readonly cells: Output[][] = [];
  /** Where each named display stands; several when it was shown more than once. */
  private readonly named = new Map<string, [cell: number, at: number][]>();

  /** Takes the messages of the next cell. */
  add(messages: readonly Message[]): void {
    const cell = this.cells.push([]) - 1;
    for (const { type, content } of messages) this.take(cell, type, content as Content);
  }

  private take(cell: number, type: string, content: Content): void {
    const outputs = this.cells[cell], last = outputs.at(-1);
    const { data = {}, metadata = {}, transient, name = "", text = "" } = content;
    const id = transient?.display_id;
    if (type === "stream") {
      if (last?.output_type === "stream" && last.name === name) {
        outputs[outputs.length - 1] = { ...last, text: last.text + text };
      } else outputs.push({ output_type: "stream", name, text });
    } else if (type === "display_data") {
      outputs.push({ output_type: "display_data", data, metadata });
      if (id === undefined) return;
      this.named.set(id, [...this.named.get(id) ?? [], [cell, outputs.length - 1]]);
    } else if (type === "update_display_data" && id !== undefined) {
      for (const [c, at] of this.named.get(id) ?? []) {
        this.cells[c][at] = { output_type: "display_data", data, metadata };
      }
    } else if (type === "execute_result") {
      const { execution_count = null } = content;
      outputs.push({ output_type: "execute_result", data, metadata, execution_count });
    } else if (type === "error") {
      const { ename = "", evalue = "", traceback = [] } = content;
      outputs.push({ output_type: "error", ename, evalue, traceback });
    }
  }
}

/** The text that a reader without graphics sees of an output. */
export function plainText(output: Output): string {
  if (output.output_type === "stream") return output.text;
  if (output.output_type === "error") return `${output.ename}: ${output.evalue}`;
  return String(output.data["text/plain"] ?? "");
}

/**
 * What a notebook says but for how long this computer took: progress and the times that runs were simulated in.
 *
 * @param notebook with outputs
 * @returns text that is equal for two executions of the same notebook on the same model
 */
export function withoutClock(notebook: Notebook): string {
  const cells = notebook.cells.map((cell) => ({
    ...cell,
    outputs: cell.outputs?.filter((output) =>
      output.output_type !== "display_data" || !String(output.data["text/html"]).startsWith("<progress")
    ),
  }));
  return notebookText({ ...notebook, cells }).replace(/simulated in [^"\\<]*/g, "simulated");
}
