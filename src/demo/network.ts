// What of this process could reach a network: counted by Node as it happens, and read from the kernel, which counts native
// code and all threads, too. Nothing is prevented here.

import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { PerformanceObserver } from "node:perf_hooks";

export interface NetworkFigures {
  /** Connections that JavaScript opened, HTTP requests, and look-ups of names. */
  readonly connections: number;
  readonly requests: number;
  readonly lookups: number;
  /** Most internet sockets beyond those of the beginning that the kernel listed; absent where it does not tell (not Linux). */
  readonly sockets?: number;
  /** How often the kernel was asked. */
  readonly looks: number;
  /** Interfaces beside loopback: without any, nothing could leave. */
  readonly interfaces: readonly string[];
}

const LOOK_MS = 500;
const TABLES = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet"];

export class Network {
  #connections = 0;
  #requests = 0;
  #lookups = 0;
  #looks = 0;
  #most = 0;
  readonly #before = internetSockets();
  readonly #onConnection = () => void this.#connections++;
  readonly #onRequest = () => void this.#requests++;
  readonly #channels: readonly (readonly [string, () => void])[] = [
    ["net.client.socket", this.#onConnection],
    ["undici:client:beforeConnect", this.#onConnection],
    ["http.client.request.start", this.#onRequest],
    ["undici:request:create", this.#onRequest],
  ];
  readonly #observer = new PerformanceObserver((list) => {
    this.#lookups += list.getEntries().length;
  });
  readonly #timer = setInterval(() => this.#look(), LOOK_MS).unref();

  /** Watches from now on, until `close`. */
  constructor() {
    for (const [name, listener] of this.#channels) subscribe(name, listener);
    this.#observer.observe({ entryTypes: ["dns"] });
  }

  figures(): NetworkFigures {
    this.#look();
    this.#lookups += this.#observer.takeRecords().length;
    return {
      connections: this.#connections,
      requests: this.#requests,
      lookups: this.#lookups,
      ...(this.#before && { sockets: this.#most }),
      looks: this.#looks,
      interfaces: Object.entries(networkInterfaces())
        .filter(([, addresses]) => addresses?.some(({ internal }) => !internal))
        .map(([name]) => name),
    };
  }

  close(): void {
    clearInterval(this.#timer);
    this.#observer.disconnect();
    for (const [name, listener] of this.#channels) unsubscribe(name, listener);
  }

  #look(): void {
    const now = internetSockets();
    if (!now || !this.#before) return;
    this.#looks++;
    this.#most = Math.max(this.#most, [...now].filter((inode) => !this.#before!.has(inode)).length);
  }
}

/** Inodes of the internet sockets that this process holds; undefined where /proc does not tell. */
export function internetSockets(): Set<string> | undefined {
  let own: Set<string>;
  try {
    own = new Set(
      readdirSync("/proc/self/fd").flatMap((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).match(/^socket:\[(\d+)\]$/)?.[1] ?? [];
        } catch {
          return []; // closed meanwhile
        }
      }),
    );
  } catch {
    return undefined;
  }
  const found = new Set<string>();
  for (const table of TABLES) {
    let text: string;
    try {
      text = readFileSync(`/proc/self/net/${table}`, "utf8");
    } catch {
      continue; // no such protocol here
    }
    for (const line of text.split("\n").slice(1))
      for (const field of line.trim().split(/\s+/)) if (own.has(field)) found.add(field);
  }
  return found;
}
