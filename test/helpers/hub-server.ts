// A hub on loopback that speaks the hub's protocol and can be told to misbehave. Files below 1 KiB are plain git blobs,
// the others are sent through a redirect, as large files are.

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Request {
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  /** Bytes of the body that were given to the connection. */
  sent: number;
}

/** What a misbehaviour may do with a request for a file: answer it itself (true), or change what is sent. */
export interface Answer {
  status?: number;
  headers?: Record<string, string>;
  body?: Uint8Array;
  /** The connection is cut after so many bytes. */
  cutAt?: number;
  /** After so many bytes nothing more comes. */
  stallAt?: number;
  /** Bytes a second, about. */
  rate?: number;
}

export interface HubServer {
  readonly endpoint: string;
  readonly commit: string;
  readonly files: Map<string, Uint8Array>;
  readonly requests: Request[];
  /** Called for every request of a file's content. */
  misbehave: ((path: string, request: Request, right: Answer) => Answer) | undefined;
  /** Called for every listing. */
  listing:
    | ((right: object) => { status?: number; body: string; headers?: Record<string, string> })
    | undefined;
  close(): Promise<void>;
}

export const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
export const gitSha1 = (bytes: Uint8Array) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

const PLAIN_BYTES = 1024;

export async function hubServer(repo: string, contents: Record<string, Uint8Array>): Promise<HubServer> {
  const files = new Map(Object.entries(contents));
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const hub: HubServer = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    commit: "0123456789abcdef0123456789abcdef01234567",
    files,
    requests: [],
    misbehave: undefined,
    listing: undefined,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(request.url!, hub.endpoint).pathname);
    const seen: Request = {
      path,
      range: request.headers.range,
      authorization: request.headers.authorization,
      sent: 0,
    };
    hub.requests.push(seen);
    if (path.startsWith(`/api/models/${repo}/revision/`)) return list(response);
    const resolve = `/${repo}/resolve/${hub.commit}/`;
    const name = path.startsWith(resolve) ? path.slice(resolve.length) : path.replace(/^\/cdn\//, "");
    const bytes = files.get(name);
    if (!bytes) return void response.writeHead(404).end("Entry not found");
    if (path.startsWith(resolve) && bytes.length >= PLAIN_BYTES)
      return void response.writeHead(302, { location: `/cdn/${name}` }).end("Found");
    const match = /^bytes=(\d+)-$/.exec(seen.range ?? "");
    const start = match ? Number(match[1]) : 0;
    const right: Answer =
      start >= bytes.length && match
        ? { status: 416, body: new Uint8Array(0) }
        : {
            status: match ? 206 : 200,
            headers: match ? { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {},
            body: bytes.subarray(start),
          };
    await send(response, seen, hub.misbehave?.(name, seen, right) ?? right);
  }

  function list(response: ServerResponse): void {
    const siblings = [...files].map(([rfilename, bytes]) => ({
      rfilename,
      size: bytes.length,
      blobId: gitSha1(bytes),
      ...(bytes.length >= PLAIN_BYTES && {
        lfs: { sha256: sha256(bytes), size: bytes.length, pointerSize: 130 },
      }),
    }));
    const right = { id: repo, sha: hub.commit, siblings };
    const { status = 200, body, headers = {} } = hub.listing?.(right) ?? { body: JSON.stringify(right) };
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(body);
  }

  return hub;
}

async function send(response: ServerResponse, request: Request, answer: Answer): Promise<void> {
  const { status = 200, headers = {}, body = new Uint8Array(0), cutAt, stallAt, rate } = answer;
  response.writeHead(status, { "content-length": String(body.length), ...headers });
  response.flushHeaders();
  const end = Math.min(body.length, cutAt ?? Infinity, stallAt ?? Infinity);
  const piece = 16384;
  for (let at = 0; at < end && !response.destroyed; at += piece) {
    const part = body.subarray(at, Math.min(at + piece, end));
    await new Promise<void>((done) => response.write(part, () => done()));
    request.sent += part.length;
    if (rate) await new Promise((done) => setTimeout(done, (part.length / rate) * 1000));
  }
  if (stallAt !== undefined) return;
  if (cutAt !== undefined) response.destroy();
  else response.end();
}
