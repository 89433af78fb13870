import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { digestsOf, type NotebookRun, outputFaults } from "../../../lib/cli/notebooks/execute.ts";
import {
  type Notebook,
  notebookText,
  type Output,
  Outputs,
  readNotebook,
  withoutClock,
  writeNotebook,
} from "../../../lib/cli/notebooks/notebook.ts";
import type { Message } from "../../../lib/cli/notebooks/session.ts";
import { chooseNotebooks, comparison, NOTEBOOKS, storyNames } from "../../../lib/cli/notebooks.ts";

const folder = mkdtempSync(join(tmpdir(), "hmmlab-notebook-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const iopub = (type: string, content: Record<string, unknown>): Message => ({
  channel: "iopub",
  type,
  parent: "p",
  content,
});
const display = (text: string, id?: string) => ({
  data: { "text/plain": text },
  metadata: {},
  transient: id === undefined ? {} : { display_id: id },
});

test("what the kernel says becomes outputs: streams joined, displays updated where they stand", () => {
  const all = new Outputs();
  all.add([
    iopub("stream", { name: "stdout", text: "a" }),
    iopub("stream", { name: "stdout", text: "b\n" }),
    iopub("stream", { name: "stderr", text: "c" }),
    iopub("display_data", display("one", "id")),
    iopub("display_data", display("plain")),
    iopub("update_display_data", display("two", "id")),
    iopub("update_display_data", display("never", "nobody")),
    iopub("execute_result", { ...display("42"), execution_count: 1 }),
  ]);
  all.add([
    iopub("update_display_data", display("three", "id")),
    iopub("error", { ename: "E", evalue: "v", traceback: ["E: v"] }),
  ]);
  expect(all.cells).toEqual([
    [
      { output_type: "stream", name: "stdout", text: "ab\n" },
      { output_type: "stream", name: "stderr", text: "c" },
      { output_type: "display_data", data: { "text/plain": "three" }, metadata: {} },
      { output_type: "display_data", data: { "text/plain": "plain" }, metadata: {} },
      { output_type: "execute_result", data: { "text/plain": "42" }, metadata: {}, execution_count: 1 },
    ],
    [{ output_type: "error", ename: "E", evalue: "v", traceback: ["E: v"] }],
  ]);
});

test("a notebook is written as Jupyter writes it, and read back whole", () => {
  const outputs: Output[] = [
    { output_type: "stream", name: "stdout", text: "a\nb" },
    {
      output_type: "display_data",
      metadata: {},
      data: {
        "text/plain": "x\ny\n",
        "image/png": "AAAA",
        "application/vnd.vegalite.v5+json": { b: ["p", "q"], a: 1 },
      },
    },
  ];
  const notebook: Notebook = {
    cells: [
      { cell_type: "markdown", id: "a", metadata: {}, source: "# T\n\nü" },
      { cell_type: "code", id: "b", metadata: {}, source: "", execution_count: null, outputs: [] },
      { cell_type: "code", id: "c", metadata: {}, source: "f();\ng();", execution_count: 1, outputs },
    ],
    metadata: { z: 1, kernelspec: { name: "deno" } },
    nbformat: 4,
    nbformat_minor: 5,
  };
  const path = join(folder, "a.ipynb"), text = notebookText(notebook);
  writeNotebook(path, notebook);
  expect(readFileSync(path, "utf8")).toBe(text);
  expect(readNotebook(path)).toEqual(notebook);
  const raw = JSON.parse(text);
  expect(raw.cells[0].source).toEqual(["# T\n", "\n", "ü"]);
  expect(raw.cells[2].outputs[0].text).toEqual(["a\n", "b"]);
  expect(raw.cells[2].outputs[1].data).toEqual({
    "application/vnd.vegalite.v5+json": { a: 1, b: ["p", "q"] },
    "image/png": "AAAA",
    "text/plain": ["x\n", "y\n"],
  });
  expect(text).toMatch(/^\{\n "cells": \[\n {2}\{\n {3}"cell_type": "markdown",\n/);
  expect(text.endsWith("}\n")).toBe(true);
  expect(text.indexOf('"kernelspec"')).toBeLessThan(text.indexOf('"z"'));
});

test("a committed notebook is read and written without a change", () => {
  for (const name of storyNames()) {
    const path = join(NOTEBOOKS, `${name}.ipynb`);
    expect(notebookText(readNotebook(path)) === readFileSync(path, "utf8"), name).toBe(true);
  }
});

test("what is no notebook is refused by its name", () => {
  const path = join(folder, "b.ipynb");
  for (const text of ["", "{", "[]", "null", '{"nbformat": 3, "worksheets": []}', '{"nbformat": 4}']) {
    writeFileSync(path, text);
    expect(() => readNotebook(path), text).toThrow(`Cannot read ${path}`);
  }
  expect(() => readNotebook(join(folder, "none.ipynb"))).toThrow("Cannot read");
});

test("notebooks are chosen by the beginning of their names", () => {
  const names = ["01-first-light", "02-oom", "021-more"];
  expect(chooseNotebooks([], names)).toEqual(names);
  expect(chooseNotebooks(["01"], names)).toEqual(["01-first-light"]);
  expect(chooseNotebooks(["notebooks/02-oom.ipynb", "01-first-light"], names)).toEqual([
    "01-first-light",
    "02-oom",
  ]);
  expect(chooseNotebooks(["02"], names)).toEqual(["02-oom", "021-more"]);
  expect(() => chooseNotebooks(["7"], names)).toThrow(
    'Cannot find notebook "7"; in notebooks/ there are 01-first-light, 02-oom, 021-more; ' +
      "write one of these names, or its number",
  );
});

test("digests are found in text of any colour", () => {
  const outputs: Output[] = [
    {
      output_type: "stream",
      name: "stdout",
      text: "digest 0123456789abcdef\nno digest here, digest of nothing\n",
    },
    {
      output_type: "display_data",
      metadata: {},
      data: { "text/plain": "\x1b[33mdigest fedcba9876543210\x1b[39m" },
    },
  ];
  expect(digestsOf(outputs)).toEqual(["0123456789abcdef", "fedcba9876543210"]);
});

test("a run that differs between kernels, or from what is committed, is told", () => {
  const run = (kernel: "deno" | "tslab", ...digests: string[]) =>
    ({ kernel, digests }) as unknown as NotebookRun;
  expect(comparison([run("deno", "a"), run("tslab", "a")], ["a"])).toEqual([]);
  expect(comparison([run("deno", "a"), run("tslab", "b")])).toEqual([
    "the digests differ: deno printed a, tslab b",
  ]);
  expect(comparison([run("deno", "a"), run("tslab")], [])).toEqual([
    "the digests differ: deno printed a, tslab none",
    "the committed digests are none, today's a; execute it again without --check",
  ]);
});

test("displays that do not render everywhere, or are too large, are faults", () => {
  const of = (
    data: Record<string, unknown>,
  ): Output[] => [{ output_type: "display_data", data, metadata: {} }];
  const vega = { "application/vnd.vegalite.v5+json": {} };
  expect(outputFaults(of({ ...vega, "image/png": "A", "text/plain": "t" }))).toEqual([]);
  expect(outputFaults(of({ ...vega, "text/plain": "t" }))).toEqual(["a chart has no image"]);
  expect(outputFaults(of({ "text/html": "t" }))).toEqual(["a display has no text, only text/html"]);
  expect(outputFaults(of({ "text/plain": "x".repeat(300_000) }))[0]).toMatch(/^a display has 300,017 bytes/);
});

test("two executions that differ by the clock alone are the same", () => {
  const of = (...texts: string[]): Notebook => ({
    cells: [{
      cell_type: "code",
      id: "a",
      metadata: {},
      source: "f();",
      execution_count: 1,
      outputs: texts.map((text) => ({
        output_type: "display_data",
        data: { "text/html": text, "text/plain": text.replace(/<[^>]*>/g, "") },
        metadata: {},
      })),
    }],
    metadata: {},
    nbformat: 4,
    nbformat_minor: 5,
  });
  const run = (seconds: string, digest: string) =>
    `<p>363 ms of virtual time, simulated in ${seconds}, 5 faults a second\ndigest ${digest}</p>`;
  const bar = '<progress value="1" max="1"></progress> 100 %, 0.3 s';
  expect(withoutClock(of(bar, run("0.31 s", "abc")))).toBe(withoutClock(of(run("1.2 s", "abc"))));
  expect(withoutClock(of(run("0.31 s", "abc")))).not.toBe(withoutClock(of(run("0.31 s", "abd"))));
  expect(withoutClock(of("<p>a</p>"))).not.toBe(withoutClock(of("<p>b</p>")));
});
