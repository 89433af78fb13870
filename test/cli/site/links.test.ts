import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkLinks } from "../../../lib/cli/site/links.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "hmmlab-links-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function site(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
}

test("links that lead somewhere are counted, and no fault", () => {
  site({
    "index.html":
      `<link rel="stylesheet" href="a.css"><a href='sub/b.html?q=1#two'>b</a> <a href="sub/">folder</a>
      <a href="#here" id="here">self</a><a href="">self</a><img src="a%20b.png"><a href="data:,x">d</a>
      <a href="&#x2E;&#x2F;sub&#x2F;b.html">escaped</a>`,
    "a.css": "",
    "a b.png": "",
    "sub/index.html": '<a href="../index.html#here">up</a>',
    "sub/b.html": '<h2 id="two">two</h2>',
  });
  expect(checkLinks(root)).toEqual({ checked: 8, outside: [], faults: [] });
});

test("dead links are told with their page: a file, a folder without index, a name in a page", () => {
  site({
    "index.html":
      '<a href="none.html">1</a><a href="empty/">2</a><a href="b.html#no">3</a><a href="b.html#yes">4</a><script src="x.js"></script>',
    "b.html": "<p id=yes>",
    "empty/x.txt": "",
  });
  expect(checkLinks(root).faults).toEqual([
    "index.html: none.html leads nowhere",
    "index.html: empty/ leads nowhere",
    "index.html: b.html#no leads to a page without #no",
    "index.html: x.js leads nowhere",
  ]);
});

test("what would be fetched from outside is a fault, where a reader may go is not", () => {
  site({
    "index.html": `<a href="https://b.example/">b</a><a href="https://a.example/">a</a>
      <script src="https://c.example/x.js"></script><link rel="stylesheet" href="//d.example/x.css">
      <img src="http://e.example/x.png"><a href="file:///etc/passwd">f</a>`,
  });
  const { outside, faults } = checkLinks(root);
  expect(outside).toEqual(["file:///etc/passwd", "https://a.example/", "https://b.example/"]);
  expect(faults).toEqual([
    "index.html: <script> fetches https://c.example/x.js",
    "index.html: <link> fetches //d.example/x.css",
    "index.html: <img> fetches http://e.example/x.png",
  ]);
});

test("links out of the site are faults, even to files that exist", () => {
  site({ "index.html": '<a href="/etc/passwd">1</a><a href="../../x">2</a>' });
  expect(checkLinks(root).faults).toEqual([
    "index.html: /etc/passwd leaves the site",
    "index.html: ../../x leaves the site",
  ]);
});

test("what stands in scripts, styles and comments is no link", () => {
  site({
    "index.html": `<script>const a = '<a href="none.html">';</script><!-- <a href="none.html"> -->
      <style>a[href="none.html"] {}</style><p data-href="none.html" title="<a href='none.html'>">`,
  });
  expect(checkLinks(root)).toEqual({ checked: 0, outside: [], faults: [] });
});
