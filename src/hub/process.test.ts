// What only a process of its own shows: a pull that is killed, and one that has no way out.
// PITH_KILLS=50 kills it so many times (default 10).

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildFolders } from "../../test/helpers/built.ts";
import { type HubServer, hubServer, sha256 } from "../../test/helpers/hub-server.ts";

const KILLS = Number(process.env.PITH_KILLS ?? 10);
const weights = new Uint8Array(1_500_000).map((_, i) => (i * 2654435761) >>> 13);
let dir: string;
let hub: HubServer;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-pull-"));
  await buildFolders(join(dir, "js"), ["hub"]);
  hub = await hubServer("o/m", {
    "config.json": new TextEncoder().encode("{}"),
    "model.safetensors": weights,
  });
  await writeFile(
    join(dir, "js/pull.js"),
    `import { pull } from "./hub/pull.js";
     const [endpoint, cache] = process.argv.slice(2);
     console.log((await pull("o/m", { endpoint, cache })).path);`,
  );
  await writeFile(
    join(dir, "js/offline.js"),
    `import dgram from "node:dgram";
     import dns, { lookup } from "node:dns";
     import http from "node:http";
     import net, { connect } from "node:net";
     import tls from "node:tls";
     import { goOffline } from "./hub/offline.js";
     import { pull } from "./hub/pull.js";
     const server = http.createServer((_, r) => r.end("in")).listen(0, "127.0.0.1");
     await new Promise((done) => server.once("listening", done));
     const { port } = server.address();
     const url = "http://127.0.0.1:" + port;
     console.log("before", await (await fetch(url)).text());
     goOffline();
     const tries = {
       fetch: () => fetch(url),
       http: () => new Promise((d, e) => http.get(url, d).on("error", e)),
       net: () => net.connect(port, "127.0.0.1"),
       named: () => connect(port),
       socket: () => new net.Socket().connect(port),
       unix: () => net.connect("/tmp/none.sock"),
       tls: () => tls.connect(port, "127.0.0.1"),
       udp: () => dgram.createSocket("udp4").send("x", 53, "127.0.0.1"),
       dns: () => dns.promises.resolve4("example.com"),
       lookup: () => lookup("localhost", () => {}),
       pull: () => pull("o/m", { endpoint: url }),
     };
     for (const [name, way] of Object.entries(tries)) {
       try { await way(); console.log(name, "OPEN"); }
       catch (error) { console.log(name, error.cause?.message ?? error.message); }
     }
     process.exit(0);`,
  );
});
afterAll(async () => {
  await hub.close();
  await rm(dir, { recursive: true, force: true });
});

function node(script: string, ...args: string[]) {
  const child = spawn(process.execPath, [join(dir, "js", script), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = { out: "", err: "" };
  child.stdout.on("data", (text) => (output.out += text));
  child.stderr.on("data", (text) => (output.err += text));
  return { child, output, ended: once(child, "close") as Promise<[number | null, string | null]> };
}

test(`killed at random ${KILLS} times, a pull ends with the right bytes and fetches none again that it had`, async () => {
  hub.misbehave = (_path, _request, right) => ({ ...right, rate: 1_200_000 });
  let kills = 0;
  for (let cache = 0; kills < KILLS; cache++) {
    const folder = join(dir, `cache${cache}`);
    const blob = join(folder, "models--o--m/blobs", sha256(weights));
    for (let done = false; !done; ) {
      const had = (await stat(`${blob}.incomplete`).catch(() => undefined))?.size ?? 0;
      hub.requests.length = 0;
      const { child, output, ended } = node("pull.js", hub.endpoint, folder);
      // From before the process has begun to beyond its end.
      const timer = setTimeout(
        () => child.kill("SIGKILL"),
        kills < KILLS ? 40 + Math.random() * 800 : 60_000,
      );
      const [code, signal] = await ended;
      clearTimeout(timer);
      if (signal === "SIGKILL") kills++;
      else {
        expect(output.err).toBe("");
        expect(code).toBe(0);
        done = true;
      }
      const ranges = hub.requests.filter((r) => r.path.startsWith("/cdn/")).map((r) => r.range);
      if (ranges.length > 0) expect(ranges).toEqual([had === 0 ? undefined : `bytes=${had}-`]);
    }
    expect(
      sha256(await readFile(join(folder, "models--o--m/snapshots", hub.commit, "model.safetensors"))),
    ).toBe(sha256(weights));
  }
}, 240_000);

test("offline, no way leads out of the process", async () => {
  const { output, ended } = node("offline.js");
  expect((await ended)[0]).toBe(0);
  expect(output.err).toBe("");
  const lines = output.out.trim().split("\n");
  expect(lines.shift()).toBe("before in");
  expect(lines.length).toBe(11);
  for (const line of lines) expect(line).toMatch(/: this process is offline \(--offline\)$|--offline is set/);
});
