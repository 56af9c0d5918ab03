// Step: what left the machine, and how that is known.

import { htmlTable } from "../../report/page.ts";
import { escapeXml } from "../../report/svg.ts";
import type { Found, Step, Work } from "../work.ts";

const ALONE = "unshare -rn npx pith demo";

async function run({ network }: Work): Promise<Found> {
  const { connections, requests, lookups, sockets, looks, interfaces } = network.figures();
  const nothing = connections + requests + lookups + (sockets ?? 0) === 0;
  const counted = [
    ["connections that the program opened", connections],
    ["HTTP requests", requests],
    ["names looked up", lookups],
    ...(sockets === undefined
      ? []
      : [
          [
            `internet sockets that the kernel listed for this process, native code included (asked ${looks} times)`,
            sockets,
          ] as const,
        ]),
  ] as const;
  const where =
    interfaces.length === 0
      ? "This process has no network interface beside loopback: nothing could have left."
      : `This process could have reached ${interfaces.join(", ")}; where it cannot, it runs the same: ${ALONE}`;
  const told = nothing
    ? "Nothing left the machine."
    : "Something was connected to while this ran; the program around it may have done so.";
  return {
    lines: [told, ...counted.map(([name, n]) => `  ${n}  ${name}`), where],
    commands: [ALONE],
    figures: {
      connections,
      requests,
      lookups,
      ...(sockets !== undefined && { sockets, looks }),
      interfaces: interfaces.length,
    },
    page: `<p><b>${told}</b> ${escapeXml(where)}</p>${htmlTable(
      ["counted while this ran", ""],
      counted.map(([name, n]) => [name, String(n)]),
    )}`,
  };
}

export const left: Step = { id: "left", title: "What left this machine", run };
