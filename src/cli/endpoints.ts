// Teachers behind URLs, on the command line: what leaves this machine is said and asked for first.

import { type EndpointOptions, foreignHosts, parseEndpoints } from "../remote/index.ts";
import { note } from "./output.ts";
import { agreed } from "./pull.ts";
import { set } from "./train.ts";

export interface EndpointCliOptions {
  model?: string;
  allowHost?: string[];
  concurrency?: number;
  timeout?: number;
  /** Of all verbs. */
  offline?: boolean;
}

/**
 * Hosts that are not this machine's are agreed to by name: with --allow-host, or on the terminal.
 * @param sent what would be sent to them
 */
export async function endpointOptions(
  teacher: string,
  sent: string,
  options: EndpointCliOptions,
): Promise<EndpointOptions> {
  const { allowHost = [], model, concurrency, timeout } = options;
  const urls = parseEndpoints(teacher);
  const foreign = options.offline ? [] : foreignHosts(urls, allowHost);
  if (foreign.length > 0) {
    const plain = urls.some((url) => url.protocol === "http:" && foreign.includes(url.host));
    const key = process.env.PITH_API_KEY ? ", and the key in PITH_API_KEY" : "";
    note(
      `to be sent to ${foreign.join(", ")}: ${sent}${key}${plain ? "; over http, which others on the way can read" : ""}`,
    );
    if (await agreed("Send it?")) allowHost.push(...foreign);
  }
  return {
    allowHosts: allowHost,
    ...set({ model, concurrency }),
    onRest: ({ host, message }) => note(`${host} rests, and is tried again: ${message}`),
    ...(timeout !== undefined && { timeoutMs: Math.ceil(timeout * 1000) }),
  };
}
