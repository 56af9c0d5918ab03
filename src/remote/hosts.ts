// Which hosts may be talked to: this machine's own, and those that the user named. Nothing is sent from here.

import { isOffline } from "../hub/offline.ts";

/**
 * Base URLs of endpoints: a list, or a text with commas between them.
 * @throws {TypeError} for what is no base URL, or has a password, a query or a fragment in it
 */
export function parseEndpoints(urls: string | readonly string[]): URL[] {
  const texts = (typeof urls === "string" ? urls.split(",") : urls)
    .map((text) => text.trim())
    .filter(Boolean);
  if (texts.length === 0)
    throw new TypeError("Cannot use an endpoint: found no URL, wanted one such as http://127.0.0.1:8000/v1");
  const found = texts.map((text) => {
    if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
      throw new TypeError(
        `Cannot use the endpoint ${JSON.stringify(text)}: wanted a URL with http or https, such as http://127.0.0.1:8000/v1`,
      );
    const url = new URL(text);
    // Not shown: a password may be in it.
    if (url.username || url.password)
      throw new TypeError(
        `Cannot use an endpoint of ${url.host}: its URL has a name or password, wanted the key in an environment variable`,
      );
    if (url.search || url.hash)
      throw new TypeError(
        `Cannot use the endpoint ${JSON.stringify(text)}: it has a query or fragment, wanted a base URL such as http://127.0.0.1:8000/v1`,
      );
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    return url;
  });
  const twice = found.find((url, i) => found.findIndex((other) => other.href === url.href) < i);
  if (twice) throw new TypeError(`Cannot use the endpoint ${twice.href} twice, wanted each URL once`);
  return found;
}

/** Whether a teacher's name is URLs of endpoints rather than a model. */
export function isEndpoint(teacher: string): boolean {
  return /^\s*https?:\/\//i.test(teacher);
}

/** Whether what is sent to a URL stays on this machine, by its address or the one name that means it. */
export function isLoopback({ hostname }: URL): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** Hosts among the URLs that are neither this machine nor allowed, each once. A name in `allowed` may have a port. */
export function foreignHosts(urls: readonly URL[], allowed: readonly string[] = []): string[] {
  const names = new Set(allowed.map((name) => name.trim().toLowerCase()));
  const foreign = urls.filter((url) => !isLoopback(url) && !names.has(url.hostname) && !names.has(url.host));
  return [...new Set(foreign.map((url) => url.host))];
}

/**
 * @throws {Error} when this process is offline, when a host is neither loopback nor in `allowed`, or when a proxy that
 * nobody named would see what is sent
 */
export function checkHosts(
  urls: readonly URL[],
  allowed: readonly string[] = [],
  env: NodeJS.ProcessEnv = process.env,
): void {
  const hosts = urls.map((url) => url.host).join(", ");
  // Loopback too: a server here may pass on what it gets, so "offline" could not be promised with it.
  if (isOffline())
    throw new Error(
      `Cannot use the endpoint ${hosts}: this process is offline (--offline), which forbids every connection`,
    );
  const foreign = foreignHosts(urls, allowed);
  if (foreign.length > 0)
    throw new Error(
      `Cannot send anything to ${foreign.join(", ")}: nothing leaves this machine unless you say so; allow it with ${foreign.map((host) => `--allow-host ${host}`).join(" ")}`,
    );
  const proxy = proxyOf(env);
  if (proxy)
    throw new Error(
      `Cannot use the endpoint ${hosts}: Node is told to send requests through the proxy in ${proxy}, wanted a direct connection; unset it`,
    );
}

/** The variable whose proxy Node's fetch would use: only where Node was asked to, which it is not by default. */
function proxyOf(env: NodeJS.ProcessEnv): string | undefined {
  const asked =
    env.NODE_USE_ENV_PROXY === "1" ||
    `${env.NODE_OPTIONS ?? ""} ${process.execArgv.join(" ")}`.includes("--use-env-proxy");
  return asked
    ? ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"].find((name) => env[name])
    : undefined;
}
