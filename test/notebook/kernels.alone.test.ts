/** What the library does in cells of the two kernels, through the Jupyter protocol. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Kernel, kernelCommand, KERNELS } from "../../lib/cli/notebooks/kernels.ts";
import { type Output, Outputs, plainText } from "../../lib/cli/notebooks/notebook.ts";
import { type Execution, KernelSession } from "../../lib/cli/notebooks/session.ts";
import { NOTEBOOKS } from "../../lib/cli/notebooks.ts";
import { outputFaults } from "../../lib/cli/notebooks/execute.ts";

const IMPORTS = `import {
  columnsOf, kernel, litmus, explore, machine, parameters, plot, profile, progress, scatter, show, stream, touch,
} from "hmmlab";`;

describe.each(KERNELS)("in a cell of %s", (name: Kernel) => {
  let session: KernelSession;

  async function cell(code: string): Promise<{ execution: Execution; outputs: Output[]; text: string }> {
    // After an error tslab refuses what comes within 200 ms.
    for (let tries = 0;; tries++) {
      const execution = await session.execute(code, 60_000), all = new Outputs();
      if (execution.status === "abort" && tries < 3) continue;
      all.add(execution.messages);
      return { execution, outputs: all.cells[0], text: all.cells[0].map(plainText).join("") };
    }
  }

  beforeAll(async () => {
    session = await KernelSession.start({
      argv: kernelCommand(name),
      cwd: NOTEBOOKS,
      env: { HMMLAB_PARAMETERS: '{"seed": 7}', NO_COLOR: "1" },
    });
    expect((await cell(IMPORTS)).execution.status).toBe("ok");
  }, 90_000);
  afterAll(() => session?.close());

  test("the library knows where it is", async () => {
    expect((await cell("console.log(kernel())")).text).toBe(`${name}\n`);
    expect((await cell('console.log(parameters({ heap: "1 GiB", seed: 1 }).seed)')).text).toBe("7\n");
    const wrong = await cell("parameters({ sead: 1 })");
    expect(wrong.execution.status).toBe("error");
    expect(wrong.text).toContain("this notebook knows sead; write one of these; did you mean sead?");
  });

  test("a run is shown as HTML and text, a chart as spec, image and text", async () => {
    const { execution, outputs } = await cell(`
      const m = machine({ devices: { gpu: "titan-v" }, seed: 1 });
      const heap = m.process().mmap("4 MiB");
      const run = await m.run({ cpu: touch(heap), gpu: stream(m.gpu, heap) });
      await show(run, m, profile("titan-v"), run.latencies, plot.throughput(run.links[0]));`);
    expect(execution.status).toBe("ok");
    expect(execution.late).toBe(0);
    expect(outputs.map((o) => o.output_type === "display_data" && Object.keys(o.data).sort())).toEqual([
      ["text/html", "text/plain"],
      ["text/html", "text/plain"],
      ["text/html", "text/plain"],
      ["text/html", "text/plain"],
      ["application/vnd.vegalite.v5+json", "image/svg+xml", "text/plain"],
    ]);
    expect(outputFaults(outputs)).toEqual([]);
    expect(plainText(outputs[0])).toMatch(/digest [0-9a-f]{16}\n/);
  });

  test("a large chart comes with a PNG and stays under 300 kB", async () => {
    const { outputs } = await cell(`
      const rows = Array.from({ length: 1500 }, (_, i) => ({ kind: "k" + (i % 3), latencyNs: 1000 + (i * 7919) % 9000 }));
      await show(plot.lines(columnsOf("x", rows.map((r, i) => ({ i, ns: r.latencyNs })), { ns: "ns" }), { x: "i", y: "ns" }));`);
    expect(outputFaults(outputs)).toEqual([]);
    expect(outputs).toHaveLength(1);
  });

  test("what hmmlab does not know is printed as the kernel prints it", async () => {
    const code = '{ const x = new Map([["a", 1]]); ';
    const shown = await cell(code + "await show(x, 42); }");
    expect(shown.execution.status).toBe("ok");
    expect(shown.execution.late).toBe(0);
    expect(shown.text).toMatch(/Map\(1\) \{ ["']a["'] => 1 \}\n?42/);
  });

  test("many displays in a row all arrive, in order, before the cell is said to have ended", async () => {
    const { execution, outputs } = await cell(
      'for (let i = 0; i < 20; i++) await show(columnsOf("t" + i, [{ i }]));',
    );
    expect(execution.late).toBe(0);
    expect(outputs.map((o) => plainText(o).split("\n")[0])).toEqual(
      Array.from({ length: 20 }, (_, i) => `t${i}`),
    );
  });

  test("progress is one display, updated in place up to the end", async () => {
    const { execution, outputs } = await cell(`
      const step = progress("counting");
      for (let i = 1; i <= 5; i++) {
        step({ done: i, total: 5 });
        await new Promise((resolve) => setTimeout(resolve, 120));
      }`);
    const kinds = execution.messages.map((m) => m.type);
    expect(kinds).toEqual(["display_data", ...Array(4).fill("update_display_data")]);
    const ids = execution.messages.map((m) => (m.content.transient as { display_id: string }).display_id);
    expect(new Set(ids).size).toBe(1);
    expect(outputs).toHaveLength(1);
    expect(plainText(outputs[0])).toBe("counting: 100 %, 5 of 5");
  });

  test("budgetSeconds ends a run early with what it has", async () => {
    const t0 = performance.now();
    const { text } = await cell(`
      const slow = machine({ seed: 1 });
      const part = await slow.run({ cpu: scatter(slow.process().mmap("64 MiB"), 1e9) }, { budgetSeconds: 0.5 });
      console.log(part.end, part.actors[0].pages > 1000);`);
    expect(text).toBe("budget true\n");
    expect(performance.now() - t0).toBeLessThan(10_000);
  });

  /** Interrupts a cell once it has run for a while; the kernel must be at rest and alive afterwards. */
  async function interrupted(code: string, presses: number): Promise<string> {
    const presser = setInterval(() => {
      if (presses-- > 0) session.interrupt();
      else clearInterval(presser);
    }, 700);
    try {
      const t0 = performance.now(), { execution, text } = await cell(code);
      expect(execution.status).toBe("error");
      expect(performance.now() - t0).toBeLessThan(8000);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      return text;
    } finally {
      clearInterval(presser);
    }
  }

  test("an interrupt stops a long run and leaves the kernel alive and idle", async () => {
    const text = await interrupted(
      `(globalThis as any).seen = 0;
       const m4 = machine({ seed: 1 });
       await m4.run({ cpu: scatter(m4.process().mmap("64 MiB"), 1e9) }, { progress: () => { (globalThis as any).seen++; } });`,
      1,
    );
    expect(text).toContain(
      name === "deno" ? "InterruptedError: The run was interrupted after" : "Interrupted",
    );
    const before = (await cell("console.log((globalThis as any).seen)")).text;
    await new Promise((resolve) => setTimeout(resolve, 500));
    // Nothing goes on behind the cells that follow.
    expect((await cell("console.log((globalThis as any).seen)")).text).toBe(before);
    expect((await cell("console.log(6 * 7)")).text).toBe("42\n");
  });

  test("so does one pressed several times, in a loop of many short runs", async () => {
    await interrupted(
      `const m5 = machine({ seed: 1 }), page = m5.process().mmap("4 KiB");
       for (;;) await m5.run({ cpu: touch(page) });`,
      3,
    );
    expect((await cell("console.log(6 * 7)")).text).toBe("42\n");
  });

  test("so does one in the middle of an exploration", async () => {
    const text = await interrupted(
      `const race = litmus("wide", { pages: 2 }, ({ t, dev, A }) => ({
         P0: () => dev.fault(A), P1: () => t.munmap(A), P2: () => dev.fault(A), P3: () => dev.fault(A),
         HW: () => dev.walkAndStore(A, 1), never: {},
       }));
       for (;;) await explore(race, { visited: false, maxStates: 1e9 });`,
      1,
    );
    expect(text).toContain(
      name === "deno" ? "The exploration was interrupted after" : "Interrupted asynchronously",
    );
    expect((await cell("console.log(6 * 7)")).text).toBe("42\n");
  });
});
