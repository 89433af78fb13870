/** Notebooks executed from a fresh kernel, cell by cell. */
import { stripVTControlCharacters } from "node:util";
import { MAX_BUNDLE_BYTES } from "../../notebook/bundle.ts";
import { type Kernel, kernelCommand } from "./kernels.ts";
import { type MimeData, type Notebook, type Output, Outputs, plainText } from "./notebook.ts";
import { KernelSession } from "./session.ts";

/** What came of a notebook on one kernel. */
export interface NotebookRun {
  /** The kernel. */
  readonly kernel: Kernel;
  /** Wall time from the kernel's start to its end. */
  readonly seconds: number;
  /** The notebook with the outputs of this run, as far as it came. */
  readonly notebook: Notebook;
  /** What went wrong, one text each, with the cell; empty when all is well. */
  readonly faults: readonly string[];
  /** Outputs that a plain client would have lost because the kernel said idle before them. */
  readonly late: number;
  /** The digests that it printed, in order. */
  readonly digests: readonly string[];
}

/** How a notebook is executed. */
export interface ExecuteOptions {
  /** The folder in which the kernel runs: the notebook's own. */
  readonly cwd: string;
  /** Parameters in place of those in the notebook's cell. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** The longest that a cell may take. */
  readonly cellLimitMs?: number;
}

/** The parameters with which tests execute a notebook, out of its metadata. */
export function smallParameters(notebook: Notebook): Readonly<Record<string, unknown>> {
  const { hmmlab } = notebook.metadata as { hmmlab?: { small?: Readonly<Record<string, unknown>> } };
  return hmmlab?.small ?? {};
}

/** The digests that outputs print, in order: of runs, explorations, whatever says `digest` and a hexadecimal number. */
export function digestsOf(outputs: readonly Output[]): string[] {
  return outputs.flatMap((output) =>
    [...stripVTControlCharacters(plainText(output)).matchAll(/\bdigest ([0-9a-f]{8,64})\b/g)].map((m) => m[1])
  );
}

/**
 * What is wrong with the outputs of a cell that ran: a chart without an image for those who cannot draw it, no text,
 * too many bytes for a file that is kept and reviewed.
 */
export function outputFaults(outputs: readonly Output[]): string[] {
  const faults: string[] = [];
  for (const output of outputs) {
    if (output.output_type !== "display_data") continue;
    const data: MimeData = output.data;
    const mimes = Object.keys(data), drawn = mimes.filter((mime) => mime.includes("vega"));
    if (!("text/plain" in data)) faults.push(`a display has no text, only ${mimes.join(", ")}`);
    if (drawn.length > 0 && !mimes.some((mime) => mime.startsWith("image/"))) {
      faults.push("a chart has no image");
    }
    const bytes = new TextEncoder().encode(JSON.stringify(data)).length;
    if (bytes > MAX_BUNDLE_BYTES) {
      faults.push(`a display has ${bytes.toLocaleString("en-US")} bytes, more than ${MAX_BUNDLE_BYTES}`);
    }
  }
  return faults;
}

/** The error of a cell, as a person wants to read it. */
function errorOf(outputs: readonly Output[]): string {
  const error = outputs.findLast((o) => o.output_type === "error");
  if (error?.output_type === "error") {
    return stripVTControlCharacters(error.traceback.join("\n") || `${error.ename}: ${error.evalue}`);
  }
  // tslab prints its errors.
  const printed = outputs.filter((o) => o.output_type === "stream" && o.name === "stderr").map(plainText);
  return stripVTControlCharacters(printed.join("")).trim() || "it failed without a word";
}

/**
 * Executes a notebook from a fresh kernel.
 *
 * @param notebook what to execute; it stays as it is
 * @param kernel on which kernel
 * @param options folder, parameters
 * @returns outputs and faults; a cell that fails ends it and is no exception
 * @throws Error if the kernel cannot be started
 */
export async function executeNotebook(
  notebook: Notebook,
  kernel: Kernel,
  options: ExecuteOptions,
): Promise<NotebookRun> {
  const { cwd, parameters, cellLimitMs = 120_000 } = options;
  const env: Record<string, string> = {};
  if (parameters !== undefined) env.HMMLAB_PARAMETERS = JSON.stringify(parameters);
  const t0 = performance.now(),
    outputs = new Outputs(),
    counts: (number | null)[] = [],
    faults: string[] = [];
  let late = 0;
  const session = await KernelSession.start({ argv: kernelCommand(kernel), cwd, env });
  try {
    for (const [i, cell] of notebook.cells.entries()) {
      if (cell.cell_type !== "code") continue;
      const where = `cell ${i + 1}`;
      try {
        const execution = await session.execute(cell.source, cellLimitMs);
        outputs.add(execution.messages);
        counts.push(execution.executionCount);
        // Values of cells come from the Deno kernel itself, which is late with them now and then.
        late += execution.messages.slice(-execution.late).filter((m) =>
          execution.late > 0 && m.type !== "execute_result"
        ).length;
        const said = outputs.cells.at(-1)!;
        if (execution.status !== "ok") {
          faults.push(`${where} failed: ${errorOf(said)}\n${indented(cell.source)}`);
          break;
        }
        faults.push(
          ...outputFaults(said).map((fault) =>
            `${where}: ${fault}`
          ),
        );
      } catch (error) {
        faults.push(`${where}: ${error instanceof Error ? error.message : error}\n${indented(cell.source)}`);
        break;
      }
    }
  } finally {
    await session.close();
  }
  let code = 0;
  const cells = notebook.cells.map((cell) => {
    if (cell.cell_type !== "code") return cell;
    const at = code++;
    return { ...cell, execution_count: counts[at] ?? null, outputs: outputs.cells[at] ?? [] };
  });
  return {
    kernel,
    seconds: (performance.now() - t0) / 1000,
    notebook: { ...notebook, cells },
    faults,
    late,
    digests: outputs.cells.flatMap(digestsOf),
  };
}

function indented(source: string): string {
  return source.split("\n").map((line) => `    | ${line}`).join("\n");
}
