import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../../lib/cli/setup.ts";
import { playTranscript } from "../../lib/experiments/conformance/compare.ts";
import { transcriptLines } from "../../lib/experiments/conformance/files.ts";
import { conformanceSpec } from "../../lib/experiments/conformance/machine.ts";
import { FIELDS, parseTranscript } from "../../lib/experiments/conformance/transcript.ts";
import { PENDING } from "./pending.ts";

const spec = conformanceSpec();

async function transcripts(name: string) {
  const lines = await transcriptLines(join(ROOT, "datasets/conformance", `${name}.jsonl.gz`));
  return lines.filter((line) => line !== "").map(parseTranscript);
}

test.for(["complete", "clock", "steps"] as const)("every named program agrees, runner %s", async (runner) => {
  const all = [...await transcripts("named"), ...await transcripts("named-coherent")];
  expect(all.length).toBe(163 + 18);
  const wrong = all.filter(({ id }) => !(id in PENDING)).flatMap((t) => {
    const { state, events } = playTranscript(spec, t, runner, FIELDS);
    return [state?.text, events?.text].filter((text) => text !== undefined);
  });
  expect(wrong.join("\n\n")).toBe("");
});
