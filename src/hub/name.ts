// Names of models on the hub: `owner/name`, with a quantization and a revision where they are wanted.

export interface HubName {
  /** `owner/name`, or `name` for the hub's oldest models. */
  readonly repo: string;
  /** Which GGUF file of several, e.g. "Q4_K_M". */
  readonly quant?: string;
  /** A branch, tag or commit; "main" unless given. */
  readonly revision: string;
}

const REPO = /^[A-Za-z0-9_][\w.-]{0,95}(\/[A-Za-z0-9_][\w.-]{0,95})?$/;
const QUANT = /^[A-Za-z0-9_.-]{1,64}$/;
const REVISION = /^[\w][\w./-]{0,199}$/;

/**
 * Reads `[hf:]owner/name[:quant][@revision]`.
 * @returns undefined when `text` cannot be such a name
 */
export function parseHubName(text: string): HubName | undefined {
  const match = /^(?:hf:)?([^:@]+)(?::([^:@]+))?(?:@([^:@]+))?$/.exec(text);
  if (!match) return undefined;
  const [, repo, quant, revision = "main"] = match;
  if (!REPO.test(repo!) || repo!.includes("..") || repo!.endsWith(".git")) return undefined;
  if (quant !== undefined && !QUANT.test(quant)) return undefined;
  if (!REVISION.test(revision) || revision.includes("..") || revision.includes("//")) return undefined;
  return { repo: repo!, revision, ...(quant !== undefined && { quant }) };
}

/** @throws {TypeError} when `text` is no hub name */
export function hubName(text: string, action: string): HubName {
  const name = parseHubName(text);
  if (!name)
    throw new TypeError(
      `Cannot ${action} ${JSON.stringify(text)}: wanted a hub name: owner/name, owner/name:Q4_K_M or owner/name@revision`,
    );
  return name;
}

/** Quantization that a GGUF file's name states: its last part, e.g. "Q4_K_M" of "model-Q4_K_M.gguf". */
export function quantOf(file: string): string | undefined {
  const base = file
    .slice(file.lastIndexOf("/") + 1)
    .replace(/\.gguf$/i, "")
    .replace(/-\d{5}-of-\d{5}$/, "");
  return /(?:^|[-._])((?:UD-)?(?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|BF16|F16|F32))$/i.exec(base)?.[1]?.toUpperCase();
}
