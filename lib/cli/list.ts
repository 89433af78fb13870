/** `deno task list`: the tasks of deno.json, one a line. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./setup.ts";

/** What deno.json says about a task. */
interface Task {
  readonly description: string;
}

const manifest = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8")) as { tasks: Record<string, Task> };
const tasks = Object.entries(manifest.tasks);
const width = Math.max(...tasks.map(([name]) => name.length));
for (const [name, task] of tasks) console.log(`${name.padEnd(width)}  ${task.description}`);
