/**
 * `deno task conformance`: plays transcripts of a real kernel on the lab and says where the two differ.
 * @module
 */
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { didYouMean } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { RunnerName } from "../experiments/conformance/machine.ts";
import { type FieldName, FIELDS } from "../experiments/conformance/transcript.ts";
import { type Job, type LineResult, play } from "./conformance/play.ts";
import { ROOT } from "./setup.ts";

const USAGE =
  "usage: deno task conformance [--json] [--runner complete|clock|steps] [--fields LIST] [--only ID] FILE…";
const RUNNERS: readonly string[] = ["complete", "clock", "steps"];

function readFields(list: string | undefined): FieldName[] {
  if (list === undefined) return [...FIELDS];
  const names = list.split(",").map((name) => name.trim()).filter((name) => name !== "");
  for (const name of names) {
    if (!(FIELDS as readonly string[]).includes(name)) {
      throw new UsageError(
        `Cannot compare field "${name}"${didYouMean(name, FIELDS)}; there are ${FIELDS.join(", ")}`,
      );
    }
  }
  if (names.length === 0) throw new UsageError(`Cannot compare no fields; there are ${FIELDS.join(", ")}`);
  return names as FieldName[];
}

/** The transcripts that the repository has. */
function ownFiles(): string[] {
  const folder = join(ROOT, "datasets", "conformance");
  return readdirSync(folder).filter((name) => name.endsWith(".jsonl.gz")).sort().map((name) =>
    join(folder, name)
  );
}

function readJob(args: string[]): { job: Job; json: boolean } | undefined {
  const { values, positionals } = parseArgs({
    args: args.filter((arg, i) => !(i === 0 && arg === "--")),
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      runner: { type: "string", default: "complete" },
      fields: { type: "string" },
      only: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  if (!RUNNERS.includes(values.runner)) {
    throw new UsageError(
      `Cannot drive operations with runner "${values.runner}"${
        didYouMean(values.runner, RUNNERS)
      }; there are ${RUNNERS.join(", ")}`,
    );
  }
  const { only } = values;
  const job: Job = {
    files: positionals.length > 0 ? positionals : ownFiles(),
    runner: values.runner as RunnerName,
    fields: readFields(values.fields),
    ...(only === undefined ? {} : { only }),
  };
  return { job, json: values.json };
}

/** How often each reason for a difference came, the most frequent first. */
function byReason(results: readonly LineResult[], which: "state" | "events"): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { verdict, operation } of results) {
    const reason = verdict?.[which]?.reason;
    if (reason === undefined) continue;
    const known = reason.startsWith("not modelled") || reason.startsWith("threw");
    const key = known || operation === undefined ? reason : `${reason} after ${operation}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return Object.fromEntries([...counts].sort(([, a], [, b]) => b - a));
}

/** What is said of one line that is broken or differs; undefined when all agrees. */
function said(job: Job, { file, line, verdict, broken }: LineResult): string | undefined {
  const where = `${basename(job.files[file])} line ${line}`;
  if (broken !== undefined) return `${where}: ${broken}`;
  const { state, events } = verdict!;
  const parts = [];
  if (state !== undefined) parts.push(state.text);
  // An event that differs at the same place for the same reason is not said twice.
  if (events !== undefined && events.text !== state?.text) parts.push(events.text);
  return parts.length === 0 ? undefined : parts.map((p) => `${where}: ${p}`).join("\n");
}

async function main(args: string[]): Promise<number> {
  const asked = readJob(args);
  if (asked === undefined) {
    console.log(USAGE);
    return 0;
  }
  const { job, json } = asked, results = await play(job);
  const played = results.filter((r) => r.verdict !== undefined), n = played.length;
  if (n === 0 && job.only !== undefined) {
    throw new UsageError(`Cannot play "${job.only}": no program of that name in ${job.files.join(", ")}`);
  }
  const broken = results.filter((r) => r.broken !== undefined);
  const state = played.filter((r) => r.verdict!.state === undefined).length;
  const events = played.filter((r) => r.verdict!.events === undefined).length;
  if (json) {
    const differences = played.filter((r) => r.verdict!.state ?? r.verdict!.events).map((r) => ({
      file: job.files[r.file],
      line: r.line,
      operation: r.operation,
      ...r.verdict,
    }));
    console.log(JSON.stringify(
      {
        runner: job.runner,
        fields: job.fields,
        programs: n,
        state: { agree: state, reasons: byReason(played, "state") },
        events: { agree: events, reasons: byReason(played, "events") },
        broken: broken.map((r) => ({ file: job.files[r.file], line: r.line, message: r.broken })),
        differences,
      },
      null,
      2,
    ));
  } else {
    for (const r of results) {
      const text = said(job, r);
      if (text !== undefined) console.log(`${text}\n`);
    }
    for (const which of ["state", "events"] as const) {
      for (const [reason, count] of Object.entries(byReason(played, which))) {
        console.log(`${which}: ${count} differ first in: ${reason}`);
      }
    }
    if (!job.fields.includes("ev")) console.log("events were not compared");
    if (job.fields.every((f) => f === "ev")) console.log("state was not compared");
    console.log(`state: ${state} of ${n} programs agree`);
    console.log(`events: ${events} of ${n} programs agree`);
  }
  return broken.length === 0 && state === n && events === n ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (e) {
  if (e instanceof UsageError) console.error(e.message);
  else if (e instanceof TypeError && "code" in e && String(e.code).startsWith("ERR_PARSE_ARGS")) {
    console.error(`${e.message}\n${USAGE}`);
  } else throw e;
  process.exitCode = 2;
}
