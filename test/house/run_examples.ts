/** Run by examples.ts in a process of its own: imports each module named, one after the other, and writes what threw. */
import { writeFileSync } from "node:fs";
import process from "node:process";

const [results, ...urls] = process.argv.slice(2);
const failed: { url: string; error: string }[] = [];
let current = "";
const fail = (error: unknown) => {
  failed.push({ url: current, error: error instanceof Error ? error.stack ?? error.message : String(error) });
};
// A promise that an example does not await fails that example, not the run.
process.on("unhandledRejection", fail);

// What examples print is for their reader.
for (const method of ["log", "info", "table", "debug", "warn", "error"] as const) console[method] = () => {};
for (const url of urls) {
  current = url;
  try {
    await import(url);
    // Rejections of this example are told before the next begins.
    await new Promise((done) => setTimeout(done, 0));
  } catch (error) {
    fail(error);
  }
}
writeFileSync(results, JSON.stringify(failed));
process.exit(0);
