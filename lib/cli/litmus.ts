/**
 * `deno task litmus`: explores races that a real kernel ran, and says which of the ends that it showed the lab reaches.
 * @module
 */
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { UsageError } from "../errors.ts";
import { DEFAULT_LIMIT, type LitmusReport } from "../experiments/litmus/run.ts";
import { formatCount } from "../units.ts";
import { type LitmusJob, type LitmusLine, playLitmus } from "./litmus/play.ts";
import { ROOT } from "./setup.ts";

const USAGE = "usage: deno task litmus [--json] [--only ID] [--limit STATES] [--no-quirks] FILE…";

function readJob(args: string[]): { job: LitmusJob; json: boolean } | undefined {
  const { values, positionals } = parseArgs({
    args: args.filter((arg, i) => !(i === 0 && arg === "--")),
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      only: { type: "string" },
      limit: { type: "string", default: String(DEFAULT_LIMIT) },
      "no-quirks": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const limit = /^\d{1,9}$/.test(values.limit) ? Number(values.limit) : 0;
  if (limit < 1) {
    throw new UsageError(
      `Cannot visit "${values.limit}" states; a whole number from 1 is allowed; ` +
        `write for example --limit ${DEFAULT_LIMIT}`,
    );
  }
  const files = positionals.length > 0 ? positionals : [join(ROOT, "datasets", "litmus", "litmus.jsonl")];
  const { only } = values;
  return {
    job: { files, limit, quirks: !values["no-quirks"], ...(only === undefined ? {} : { only }) },
    json: values.json,
  };
}

/** Whether a race came out as it should: every observed end is reached; without the oddities no end is faulty. */
function isGood(r: LitmusReport, quirks: boolean): boolean {
  if (r.violations.length > 0) return false;
  return quirks ? r.observed.every((o) => o.schedule !== undefined) : Object.keys(r.flags).length === 0;
}

/** Schedules longer than this are cut where people read them; JSON has them whole. */
function said(r: LitmusReport, quirks: boolean): string {
  const reached = r.observed.filter((o) => o.schedule !== undefined);
  const scope = `${r.exhaustive ? "exhaustive" : "not exhaustive"}, ${formatCount(r.states)} states`;
  const lines = [`${r.id}: ${r.question}`, `  actors ${r.actors.join(", ")}; ${scope}`];
  if (quirks) {
    lines.push(`  ${reached.length} of ${r.observed.length} observed ends reached`);
    for (const o of r.observed) {
      lines.push(
        o.schedule === undefined
          ? `  NOT REACHED (${o.count} times on Linux): ${o.text}`
          : `  reached (${o.count} times on Linux) by ${o.schedule}: ${o.text}`,
      );
    }
    for (const b of r.beyond) {
      lines.push(
        `  only in the lab${
          b.flags.length > 0 ? ` (${b.flags.join(", ")})` : ""
        } by ${b.schedule}: ${b.text}`,
      );
    }
  }
  for (const [flag, schedule] of Object.entries(r.flags)) lines.push(`  ${flag}, by ${schedule}`);
  for (const v of r.violations) lines.push(`  BROKEN: ${v.rule}, by ${v.schedule}`);
  return lines.join("\n");
}

async function main(args: string[]): Promise<number> {
  const asked = readJob(args);
  if (asked === undefined) {
    console.log(USAGE);
    return 0;
  }
  const { job, json } = asked;
  const tell = ({ file, line, report, broken }: LitmusLine): void => {
    if (json) return;
    if (broken !== undefined) console.log(`${job.files[file]} line ${line}: ${broken}\n`);
    else console.log(`${said(report!, job.quirks)}\n`);
  };
  const lines = await playLitmus(job, tell);
  const reports = lines.flatMap((l) => l.report === undefined ? [] : [l.report]), n = reports.length;
  if (n === 0 && job.only !== undefined) {
    throw new UsageError(`Cannot race "${job.only}": no test of that name in ${job.files.join(", ")}`);
  }
  const broken = lines.filter((l) => l.broken !== undefined);
  const good = reports.filter((r) => isGood(r, job.quirks)).length;
  const verdict = job.quirks
    ? `litmus: ${good} of ${n} tests: every observed outcome reached`
    : `litmus: ${good} of ${n} tests: no stale mirror entry, no lost device write`;
  if (json) {
    console.log(JSON.stringify(
      {
        quirks: job.quirks,
        limit: job.limit,
        tests: n,
        good,
        exhaustive: reports.filter((r) => r.exhaustive).length,
        broken: broken.map((l) => ({ file: job.files[l.file], line: l.line, message: l.broken })),
        reports,
      },
      null,
      2,
    ));
  } else {
    console.log(
      `${reports.filter((r) => r.exhaustive).length} of ${n} explored exhaustively, the others in part`,
    );
    console.log(verdict);
  }
  return broken.length === 0 && good === n ? 0 : 1;
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
