import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Files that start workers, change process-wide state or load vega share no module graph with others. */
const ALONE = "test/**/*.alone.test.ts";

const shared = {
  root,
  // vitest does not read the import map of deno.json; everything else is found in node_modules.
  alias: { hmmlab: join(root, "lib/mod.ts") },
  pool: "forks" as const,
  testTimeout: 60_000,
};

export default defineConfig({
  root,
  test: {
    pool: "forks",
    projects: [
      {
        root,
        test: {
          ...shared,
          name: "together",
          include: ["test/**/*.test.ts"],
          exclude: [ALONE],
          isolate: false,
        },
      },
      { root, test: { ...shared, name: "alone", include: [ALONE], isolate: true } },
    ],
  },
});
