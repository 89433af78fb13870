/**
 * `deno task figures`: every published figure beside what comes out here, with a verdict.
 *
 * It fails if a figure has no line or a parameter no label. A line that misses is no failure.
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { didYouMean } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { faultsOf, FIGURE_WORKS, type FigureWork, unnamedFits } from "../experiments/figures/registry.ts";
import { figureSummary, figureText, parameterTable } from "../experiments/figures/tables.ts";
import type { FigureRow } from "../experiments/figures/row.ts";
import { toText } from "../tables/mod.ts";

const USAGE = "usage: deno task figures [--json] [--sample] [NAME…]";

function readArguments(
  args: string[],
): { json: boolean; sample: boolean; works: readonly FigureWork[] } | undefined {
  const { values, positionals } = parseArgs({
    args: args.filter((arg, i) => !(i === 0 && arg === "--")),
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      sample: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const names = FIGURE_WORKS.map((w) => w.name);
  for (const name of positionals) {
    if (!names.includes(name)) {
      throw new UsageError(
        `Cannot compare with "${name}"${didYouMean(name, names)}; there are ${names.join(", ")}`,
      );
    }
  }
  const works = FIGURE_WORKS.filter((w) => positionals.length === 0 || positionals.includes(w.name));
  return { json: values.json, sample: values.sample, works };
}

async function main(args: string[]): Promise<number> {
  const asked = readArguments(args);
  if (asked === undefined) {
    console.log(USAGE);
    return 0;
  }
  const { json, sample, works } = asked, faults = unnamedFits(FIGURE_WORKS);
  const done: { work: FigureWork; rows: readonly FigureRow[] }[] = [];
  for (const work of works) {
    const rows = await work.run({ sample });
    faults.push(...faultsOf(work, rows));
    done.push({ work, rows });
    if (json) continue;
    const { table, notes } = figureText(work.title, rows);
    console.log(toText(table, { maxRows: 200 }));
    notes.forEach((note, i) => console.log(`${i + 1}  ${note}`));
    console.log("");
    if (work.parameters.length > 0) console.log(`${toText(parameterTable(work), { maxRows: 50 })}\n`);
  }
  if (json) {
    console.log(JSON.stringify(
      {
        sample,
        faults,
        works: done.map(({ work: { name, title, parameters }, rows }) => ({ name, title, parameters, rows })),
      },
      null,
      2,
    ));
  } else {
    console.log(toText(figureSummary(done), { maxRows: 50 }));
    for (const fault of faults) console.log(`WRONG: ${fault}`);
  }
  return faults.length === 0 ? 0 : 1;
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
