/**
 * `deno task demo`: runs first light, prints what happened, writes charts, tables and provenance to out/first-light/.
 * @module
 */
import { access, constants, mkdir, readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { parseArgs } from "node:util";
import { UsageError } from "../errors.ts";
import { firstLight, type FirstLightOptions } from "../experiments/first_light.ts";
import type { MachineSpec } from "../machine/spec.ts";
import type { Progress } from "../machine/workload.ts";
import type { Run } from "../machine/run.ts";
import { type Chart, plot, renderPage } from "../plot/mod.ts";
import type { Columns } from "../record/columns.ts";
import { DISPLAY } from "../record/display.ts";
import { toArrow, toCsv, toText } from "../tables/mod.ts";
import { formatNs } from "../units.ts";
import { builtinTrace, readTraceFile } from "../workloads/trace_file.ts";

const USAGE =
  `usage: deno task demo -- [--seed N] [--heap "4 GiB"] [--piece "64 MiB"] [--trace NAME|FILE|none] [--out DIR]`;

/** Prints one line that is rewritten in place on a terminal, and nothing elsewhere. */
function progressLine(p: Progress): void {
  if (!process.stderr.isTTY) return;
  const percent = Math.min(100, Math.floor((100 * p.done) / Math.max(1, p.total)));
  process.stderr.write(`\r${percent} %, ${formatNs(p.virtualNs)} of virtual time\x1b[K`);
}

async function versions(): Promise<Record<string, string>> {
  const manifest = JSON.parse(await readFile(new URL("../../deno.json", import.meta.url), "utf8"));
  const used = ["vega", "vega-lite", "arquero", "@uwdata/flechette", "@resvg/resvg-js"];
  return {
    hmmlab: manifest.version,
    ...Object.fromEntries(used.map((name) => [name, String(manifest.imports[name]).split("@").at(-1)!])),
    ...Object.fromEntries(["deno", "node", "v8"].map((name) => [name, process.versions[name] ?? "none"])),
  };
}

/** The tables that are written, by file name. */
function tablesOf(run: Run): Record<string, Columns> {
  return {
    summary: run.summary(),
    latencies: run.latencies,
    phases: run.phases,
    counters: run.counters,
    throughput: run.links[0].columns(),
    invalidations: run.invalidations.buckets(),
  };
}

async function write(
  out: string,
  run: Run,
  spec: MachineSpec,
  parameters: object,
  seed: number,
): Promise<string[]> {
  const charts: Record<string, Chart> = {
    throughput: plot.throughput(run.links[0], { endNs: run.virtualNs }),
    invalidation: plot.latency(run.invalidations),
  };
  const tables = tablesOf(run), files: string[] = [];
  const put = async (name: string, data: string | Uint8Array) => {
    await writeFile(`${out}/${name}`, data);
    files.push(name);
  };
  // The record first: whatever a renderer may stumble over, what was computed is there.
  const record = {
    experiment: "first-light",
    seed,
    parameters,
    machine: spec,
    versions: await versions(),
    end: run.end,
    virtualNs: run.virtualNs,
    wallSeconds: run.wallSeconds,
    digest: run.digest,
    actors: run.actors,
  };
  await put("run.json", JSON.stringify(record, null, 2) + "\n");
  for (const [name, table] of Object.entries(tables)) {
    await put(`${name}.csv`, await toCsv(table));
    await put(`${name}.arrow`, await toArrow(table));
  }
  for (const [name, chart] of Object.entries(charts)) {
    await put(`${name}.svg`, await chart.svg());
    await put(`${name}.png`, await chart.png());
  }
  const lead = `Seed ${seed}, digest ${run.digest.slice(0, 16)}, ${formatNs(run.virtualNs)} of virtual time.`;
  const page = await renderPage(
    Object.values(charts),
    [tables.summary, tables.latencies, tables.phases],
    "First light",
    {
      lead,
    },
  );
  await put("index.html", page);
  return files;
}

/** Makes the folder before anything is computed, so that nothing is lost for want of it. */
async function writable(out: string): Promise<void> {
  try {
    await mkdir(out, { recursive: true });
    await access(out, constants.W_OK);
  } catch (e) {
    const why = e instanceof Error ? e.message : String(e);
    throw new UsageError(
      `Cannot write to --out ${out}: ${why}; a folder that can be made and written is allowed`,
    );
  }
}

function wholeNumber(option: string, text: string): number {
  const n = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(n) && n >= 0) return n;
  throw new UsageError(
    `Cannot take --${option} ${text}: allowed are whole numbers from 0 on; write for example --${option} 2.`,
  );
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args: args.filter((arg) => arg !== "--"),
    options: {
      seed: { type: "string", default: "1" },
      heap: { type: "string", default: "4 GiB" },
      piece: { type: "string", default: "64 MiB" },
      trace: { type: "string", default: "sqlite3-join" },
      out: { type: "string", default: "out/first-light" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const { heap, piece, trace: traceName, out } = values, seed = wholeNumber("seed", values.seed);
  const trace = traceName === "none"
    ? undefined
    : /[./]/.test(traceName)
    ? await readTraceFile(traceName)
    : await builtinTrace(traceName);
  await writable(out);
  const stop = new AbortController();
  const interrupt = () => stop.abort();
  process.on("SIGINT", interrupt);
  const options: FirstLightOptions = { seed, heap, piece, trace };
  const { run, machine } = await firstLight(options, { progress: progressLine, signal: stop.signal });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  const { text, tables } = run[DISPLAY]();
  console.log(
    `First light: CPU and device take turns over ${heap}, ${trace?.name ?? "no trace"} beside them\n`,
  );
  for (const table of tables ?? []) console.log(`${toText(table)}\n`);
  const program = run.actors.find((a) => a.name === "program");
  if (program !== undefined) {
    console.log(`${program.workload}: ${program.mismatches} reads found another word than was written\n`);
  }
  console.log(text);
  const files = await write(out, run, machine.spec, { heap, piece, trace: traceName }, seed);
  console.log(`\nwrote ${out}/: ${files.join(", ")}`);
  process.off("SIGINT", interrupt); // only now: an interrupt while charts are drawn must lose nothing
  if (run.end === "interrupted") console.log("interrupted: what was computed until then is written");
  return run.end === "interrupted" ? 130 : run.mismatches === 0 ? 0 : 1;
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
