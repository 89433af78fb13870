import { existsSync } from "node:fs";
import { createServer } from "node:net";
import process from "node:process";
import { expect, test } from "vitest";
import { checkPort, jupyterEnv } from "../../../lib/cli/notebooks/jupyter.ts";
import { JUPYTER, kernelCommand } from "../../../lib/cli/notebooks/kernels.ts";
import { homedir } from "node:os";

test("a kernel's command names programs that are there and the connection file", () => {
  const [deno, ...rest] = kernelCommand("deno");
  expect(existsSync(deno)).toBe(true);
  expect(rest).toEqual(["jupyter", "--kernel", "--conn", "{connection_file}"]);
  const [node, start, file] = kernelCommand("tslab");
  expect([node, file]).toEqual(["node", "{connection_file}"]);
  expect(existsSync(start)).toBe(true);
});

test("without node tslab is refused in one line", () => {
  const before = process.env.PATH;
  try {
    process.env.PATH = "/nowhere";
    expect(() => kernelCommand("tslab")).toThrow(
      /^Cannot start tslab: node is not in PATH; it needs Node 20$/,
    );
  } finally {
    process.env.PATH = before;
  }
});

test("a port in use is told in one line, with another to try", async () => {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as { port: number };
  try {
    await expect(checkPort(port)).rejects.toThrow(
      `Cannot start JupyterLab: port ${port} is in use; write npx --yes deno@2.9.6 task lab -- --port ${
        port + 1
      }`,
    );
  } finally {
    await new Promise((done) => server.close(done));
  }
  await checkPort(port);
});

test("everything that Jupyter writes lies in the repository", () => {
  const env = jupyterEnv();
  expect(Object.keys(env)).toEqual(
    expect.arrayContaining(["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"]),
  );
  for (const [name, value] of Object.entries(env)) {
    expect(value.startsWith(JUPYTER), name).toBe(true);
    expect(value.startsWith(`${homedir()}/.`), name).toBe(false);
  }
});
