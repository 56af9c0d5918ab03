// No way out: makes every outgoing connection of this process an error. A guard against mistakes, in JavaScript; code in
// another language could still open a socket, and other processes are not meant.

import dgram from "node:dgram";
import dns from "node:dns";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";

let offline = false;

/** Whether `goOffline` was called. */
export function isOffline(): boolean {
  return offline;
}

function refuse(what: string): never {
  const error = new Error(`Cannot ${what}: this process is offline (--offline)`) as NodeJS.ErrnoException;
  error.code = "ERR_OFFLINE";
  throw error;
}

/**
 * From now on no connection leaves this process: TCP (which HTTP, TLS and `fetch` stand on), Unix sockets, UDP and name
 * look-ups throw at once, loopback included. Listening and answering go on. There is no way back.
 */
export function goOffline(): void {
  if (offline) return;
  offline = true;
  net.Socket.prototype.connect = function connect(...args: unknown[]): never {
    const options = (Array.isArray(args[0]) ? args[0][0] : args[0]) as {
      host?: string;
      port?: number;
      path?: string;
    };
    const to = options?.path ?? `${options?.host ?? "localhost"}:${options?.port ?? ""}`;
    return refuse(`connect to ${to}`);
  } as never;
  for (const name of ["send", "connect"] as const)
    dgram.Socket.prototype[name] = (() => refuse("send a datagram")) as never;
  const look = (target: object) => {
    for (const name of Object.getOwnPropertyNames(target))
      if (/^(lookup|lookupService|reverse|resolve)/.test(name))
        (target as Record<string, unknown>)[name] = () => refuse("look up a host name");
  };
  for (const target of [dns, dns.promises, dns.Resolver.prototype, dns.promises.Resolver.prototype])
    look(target);
  syncBuiltinESMExports();
}
