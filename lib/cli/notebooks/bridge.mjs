// @ts-check
/**
 * Speaks the Jupyter protocol with one kernel, under Node: `node bridge.mjs CONNECTION_FILE`.
 *
 * Deno cannot load the ZeroMQ that comes with tslab, so this file stands between: a line of JSON on standard input is a
 * request `{ id, channel, type, content }`, a line on standard output a message `{ channel, type, parent, content }`.
 * It ends when its standard input does.
 */
import { createHmac, randomUUID } from "node:crypto";
import { readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const tslab = realpathSync(join(root, "node_modules", "tslab", "package.json"));
const zmq = createRequire(tslab)("zeromq");

const DELIMITER = "<IDS|MSG>";
const connection = JSON.parse(readFileSync(process.argv[2], "utf8"));
const session = randomUUID();
const sockets = { shell: new zmq.Dealer(), control: new zmq.Dealer(), iopub: new zmq.Subscriber() };

/** @param {readonly (string | Buffer)[]} parts @returns {string} */
function sign(parts) {
  const hmac = createHmac("sha256", connection.key);
  for (const part of parts) hmac.update(part);
  return hmac.digest("hex");
}

/** @param {"shell" | "control" | "iopub"} channel */
async function listen(channel) {
  for await (const frames of sockets[channel]) {
    const at = frames.findIndex((/** @type {Buffer} */ frame) => frame.toString() === DELIMITER);
    const [signature, ...parts] = frames.slice(at + 1);
    if (signature.toString() !== sign(parts.slice(0, 4))) throw new Error("a message has a wrong signature");
    const [header, parent, metadata, content] = parts.map((/** @type {Buffer} */ part) =>
      JSON.parse(part.toString())
    );
    const line = { channel, type: header.msg_type, parent: parent.msg_id ?? "", metadata, content };
    process.stdout.write(JSON.stringify(line) + "\n");
  }
}

for (const channel of /** @type {const} */ (["shell", "control", "iopub"])) {
  const socket = sockets[channel];
  socket.linger = 0;
  socket.connect(`tcp://${connection.ip}:${connection[`${channel}_port`]}`);
  if (channel === "iopub") socket.subscribe("");
  void listen(channel);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, channel, type, content } = JSON.parse(line);
  const header = {
    msg_id: id,
    msg_type: type,
    session,
    username: "hmmlab",
    version: "5.3",
    date: new Date().toISOString(),
  };
  const parts = [header, {}, {}, content].map((part) => JSON.stringify(part));
  await sockets[/** @type {"shell" | "control"} */ (channel)].send([DELIMITER, sign(parts), ...parts]);
}
process.exit(0);
