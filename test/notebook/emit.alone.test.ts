/** Displays on kernels that are made up: what is sent, and what a script does instead. */
import process from "node:process";
import { afterEach, expect, test, vi } from "vitest";
import { send, settle } from "../../lib/notebook/emit.ts";
import { kernel } from "../../lib/notebook/kernel.ts";
import { progress } from "../../lib/notebook/progress.ts";
import { show } from "../../lib/notebook/show.ts";
import { columnsOf } from "../../lib/record/columns.ts";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** Stands in for a running tslab, as far as the library looks at it. */
function tslab(path = "/anywhere/node_modules/tslab/dist/jupyter.js") {
  const sent: [object, boolean][] = [];
  const exports = {
    lastWriteDisplayData: (content: object, update: boolean) => void sent.push([content, update]),
  };
  const other = { exports: { lastWriteDisplayData: null } };
  const cache = { "/elsewhere/tslab/dist/jupyter.js": other, [path]: { exports } };
  vi.stubGlobal("__tslab__", { require: Object.assign(() => {}, { cache }) });
  return sent;
}

/** Stands in for a cell of the Deno kernel. */
function deno() {
  const sent: [string, unknown][] = [];
  const jupyter = {
    broadcast: (type: string, content: object) => void sent.push([type, content]),
    display: (x: unknown) => Promise.resolve(void sent.push(["display", x])),
  };
  vi.stubGlobal(
    "Deno",
    new Proxy(Deno, { get: (real, key) => key === "jupyter" ? jupyter : Reflect.get(real, key) }),
  );
  return sent;
}

test("a script is no notebook", async () => {
  expect(kernel()).toBe("script");
  await expect(send({ "text/plain": "x" })).rejects.toThrow("Cannot display");
});

test("the running tslab is found wherever it lies", async () => {
  const sent = tslab("C:\\npm\\node_modules\\tslab\\dist\\jupyter.js");
  expect(kernel()).toBe("tslab");
  await send({ "text/plain": "x" }, { displayId: "a", update: true });
  expect(sent).toEqual([[
    { data: { "text/plain": "x" }, metadata: {}, transient: { display_id: "a" } },
    true,
  ]]);
});

test("a tslab without a display is refused with what to do", async () => {
  vi.stubGlobal("__tslab__", { require: Object.assign(() => {}, { cache: {} }) });
  await expect(send({})).rejects.toThrow("write npm install tslab@1.0.22");
});

test("on Deno a bundle is broadcast, and what is unknown is the kernel's to show", async () => {
  const sent = deno();
  expect(kernel()).toBe("deno");
  await send({ "text/plain": "x" });
  await show(42);
  await show(columnsOf("t", [{ n: 1 }]), 5, "text");
  const types = ["display_data", "display", "display_data", "display", "display_data"];
  expect(sent.map(([type]) => type)).toEqual(types);
  expect(sent[0][1]).toEqual({ data: { "text/plain": "x" }, metadata: {}, transient: {} });
  expect(sent[3][1]).toBe(5);
  expect(sent[4][1]).toMatchObject({ data: { "text/plain": "text" } });
});

test("progress is a first display and updates of it, not more than ten a second, and always the end", async () => {
  const sent = tslab(), step = progress("walking");
  let now = 1000;
  vi.spyOn(performance, "now").mockImplementation(() => now);
  for (let done = 1; done <= 100; done++, now += 10) step({ done, total: 100, wallSeconds: now / 1000 });
  await Promise.resolve();
  expect(sent).toHaveLength(11);
  expect(sent.map(([, update]) => update)).toEqual([false, ...Array(10).fill(true)]);
  const [content] = sent.at(-1)! as unknown as [{ data: Record<string, string> }];
  expect(content.data["text/plain"]).toBe("walking: 100 %, 100 of 100, 2.0 s");
  expect(content.data["text/html"]).toMatch(/^<progress value="100" max="100"/);
});

test("progress takes a bare count, and on no terminal says nothing", () => {
  const written: string[] = [];
  vi.spyOn(process.stderr, "write").mockImplementation((text) => !!written.push(String(text)));
  const before = process.stderr.isTTY;
  try {
    process.stderr.isTTY = false;
    progress("counting")(7);
    expect(written).toEqual([]);
    process.stderr.isTTY = true;
    const step = progress("counting");
    step(1234567);
    step({ done: 2, total: 2, virtualNs: 1500 });
    expect(written).toEqual([
      "\rcounting: 1,234,567\x1b[K",
      "\rcounting: 100 %, 2 of 2, 1.5 us of virtual time\x1b[K\n",
    ]);
  } finally {
    process.stderr.isTTY = before;
  }
});

test("an interrupt stops a cell that only displays", async () => {
  deno();
  const shown = show("x");
  setTimeout(() => process.emit("SIGINT"), 5);
  await expect(shown).rejects.toThrow("The cell was interrupted.");
});

test("a display is waited for as long as this computer is too busy to take its turns", async () => {
  deno();
  let begin = performance.now();
  await settle();
  const calm = performance.now() - begin;
  expect(calm).toBeGreaterThan(35);
  const busy = setInterval(() => {
    for (const end = performance.now() + 18; performance.now() < end;);
  }, 0);
  begin = performance.now();
  await settle();
  clearInterval(busy);
  expect(performance.now() - begin).toBeGreaterThan(calm + 50);
  expect(performance.now() - begin).toBeLessThan(1000);
});
