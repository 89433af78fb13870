/** Counts what vitest ran, for the closing line that lib/cli/test.ts prints. */
import { writeFileSync } from "node:fs";
import { relative } from "node:path";
import process from "node:process";
import type { Reporter, SerializedError, TestModule } from "vitest/node";
import type { Summary } from "../lib/cli/test.ts";

/** A vitest reporter that writes a {@link Summary} as JSON to the file named by HMMLAB_TEST_SUMMARY. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const summary: Summary = { passed: 0, failed: 0, skipped: [] };
    for (const module of modules) {
      let failedHere = 0;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === "passed") summary.passed++;
        else if (result.state === "skipped") {
          const name = `${relative(process.cwd(), module.moduleId)}: ${test.fullName}`;
          summary.skipped.push({ test: name, why: result.note ?? "" });
        } else failedHere++;
      }
      // A file that does not load, or whose hook throws, has failed although none of its tests says so.
      if (failedHere === 0 && !module.ok()) failedHere = 1;
      summary.failed += failedHere;
    }
    summary.failed += unhandled.length;
    const path = process.env.HMMLAB_TEST_SUMMARY;
    if (path !== undefined) writeFileSync(path, JSON.stringify(summary));
  }
}
