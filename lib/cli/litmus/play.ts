/**
 * Explores the races of litmus files, on this thread or on several.
 * @module
 */
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { UsageError } from "../../errors.ts";
import { transcriptLines } from "../../experiments/conformance/files.ts";
import { parseLitmus } from "../../experiments/litmus/file.ts";
import { type LitmusReport, runLitmus } from "../../experiments/litmus/run.ts";

/** What to explore. */
export interface LitmusJob {
  readonly files: readonly string[];
  /** Most states of one race. */
  readonly limit: number;
  /** Whether the devices have the test driver's oddities. */
  readonly quirks: boolean;
  /** Only the test of this name. */
  readonly only?: string;
}

/** What came of one line of a file. */
export interface LitmusLine {
  /** Index of the file. */
  readonly file: number;
  /** Line, from 1. */
  readonly line: number;
  readonly report?: LitmusReport;
  /** What is wrong with a line that is no test. */
  readonly broken?: string;
}

interface Place {
  readonly file: number;
  readonly line: number;
  readonly text: string;
}

function playLine(job: LitmusJob, { file, line, text }: Place): LitmusLine | undefined {
  try {
    const test = parseLitmus(text);
    if (job.only !== undefined && test.id !== job.only) return undefined;
    return { file, line, report: runLitmus(test, job) };
  } catch (e) {
    if (!(e instanceof UsageError)) throw e;
    return { file, line, broken: e.message };
  }
}

/**
 * Explores the tests of a job, each worker the next one that is left.
 *
 * @param tell called with each line's result, in the order of files and lines
 * @returns what came of every line that is not empty
 * @throws UsageError for a file that cannot be read
 */
export async function playLitmus(
  job: LitmusJob,
  tell: (l: LitmusLine) => void = () => {},
): Promise<LitmusLine[]> {
  const places: Place[] = [];
  for (const [file, path] of job.files.entries()) {
    for (const [i, text] of (await transcriptLines(path)).entries()) {
      if (text.trim() === "") continue;
      // A cheap look before the line is read whole; one that is no test is always told.
      if (job.only !== undefined && !text.includes(JSON.stringify(job.only))) continue;
      places.push({ file, line: i + 1, text });
    }
  }
  const results: (LitmusLine | undefined | null)[] = places.map(() => null);
  let told = 0;
  const done = (i: number, result: LitmusLine | undefined): void => {
    results[i] = result;
    for (; told < results.length && results[told] !== null; told++) if (results[told]) tell(results[told]!);
  };
  const workers = Math.min(8, availableParallelism(), places.length);
  if (workers <= 1) places.forEach((p, i) => done(i, playLine(job, p)));
  else {
    let next = 0;
    await Promise.all(Array.from({ length: workers }, () =>
      new Promise<void>((resolve, reject) => {
        const worker = new Worker(new URL(import.meta.url), { workerData: { litmus: job } });
        let at = -1;
        const give = (): void => {
          at = next++;
          if (at < places.length) worker.postMessage(places[at]);
          else void worker.terminate().then(() => resolve());
        };
        worker.on("message", (result: LitmusLine | undefined) => {
          done(at, result);
          give();
        });
        worker.once("error", reject);
        give();
      })));
  }
  return results.filter((r): r is LitmusLine => r !== null && r !== undefined);
}

const share = workerData as { litmus?: LitmusJob } | null;
if (!isMainThread && parentPort !== null && share?.litmus !== undefined) {
  const job = share.litmus, port = parentPort;
  port.on("message", (place: Place) => port.postMessage(playLine(job, place)));
}
