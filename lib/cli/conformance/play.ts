/**
 * Plays the programs of transcript files, on this thread or on several.
 * @module
 */
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { UsageError } from "../../errors.ts";
import { playTranscript, type Verdict } from "../../experiments/conformance/compare.ts";
import { transcriptLines } from "../../experiments/conformance/files.ts";
import { conformanceSpec, type RunnerName } from "../../experiments/conformance/machine.ts";
import { type FieldName, parseTranscript } from "../../experiments/conformance/transcript.ts";

/** What to play. */
export interface Job {
  readonly files: readonly string[];
  readonly runner: RunnerName;
  readonly fields: readonly FieldName[];
  /** Only the program of this name. */
  readonly only?: string;
}

/** What came of one line of a file. */
export interface LineResult {
  /** Index of the file. */
  readonly file: number;
  /** Line, from 1. */
  readonly line: number;
  /** What came of its program. */
  readonly verdict?: Verdict;
  /** Name of its operation at the first difference. */
  readonly operation?: string;
  /** What is wrong with a line that is no program. */
  readonly broken?: string;
}

/** Part `part` of `parts` of a job: every so many-th line. */
interface Share extends Job {
  readonly part: number;
  readonly parts: number;
}

async function playShare(share: Share): Promise<LineResult[]> {
  const spec = conformanceSpec(), results: LineResult[] = [];
  let seen = 0;
  for (const [file, path] of share.files.entries()) {
    for (const [i, text] of (await transcriptLines(path)).entries()) {
      if (text.trim() === "" || seen++ % share.parts !== share.part) continue;
      const line = i + 1;
      try {
        // A cheap look before the line is read whole.
        if (share.only !== undefined && !text.includes(JSON.stringify(share.only))) continue;
        const t = parseTranscript(text);
        if (share.only !== undefined && t.id !== share.only) continue;
        const verdict = playTranscript(spec, t, share.runner, share.fields);
        const at = (verdict.state ?? verdict.events)?.op;
        const operation = at === undefined || at < 0 ? undefined : t.ops[at]?.name;
        results.push({ file, line, verdict, ...(operation === undefined ? {} : { operation }) });
      } catch (e) {
        if (!(e instanceof UsageError)) throw e;
        results.push({ file, line, broken: e.message });
      }
    }
  }
  return results;
}

function inWorker(share: Share): Promise<LineResult[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: share });
    worker.once("message", (m: { results?: LineResult[]; usage?: string }) => {
      if (m.results !== undefined) resolve(m.results);
      else reject(new UsageError(m.usage ?? "a worker ended without a word"));
      void worker.terminate();
    });
    worker.once("error", reject);
  });
}

/** Programs fewer than this are played where they are: a worker costs half a second. */
const FEW = 200;

/**
 * Plays a job.
 *
 * @returns what came of every line that is not empty, in the order of files and lines
 * @throws UsageError for a file that cannot be read
 */
export async function play(job: Job): Promise<LineResult[]> {
  let lines = 0;
  for (const path of job.files) lines += (await transcriptLines(path)).length;
  const parts = job.only !== undefined || lines < FEW ? 1 : Math.max(1, Math.min(8, availableParallelism()));
  const shares = Array.from({ length: parts }, (_, part): Share => ({ ...job, part, parts }));
  const results = await Promise.all(parts === 1 ? [playShare(shares[0])] : shares.map(inWorker));
  return results.flat().sort((a, b) => a.file - b.file || a.line - b.line);
}

if (!isMainThread && parentPort !== null && (workerData as Partial<Share> | null)?.parts !== undefined) {
  playShare(workerData as Share).then(
    (results) => parentPort!.postMessage({ results }),
    (e) => {
      if (!(e instanceof UsageError)) throw e;
      parentPort!.postMessage({ usage: e.message });
    },
  );
}
