// Words about functions and arguments: short descriptions made longer, as people write them.

/** Words of a text or name, in lower case. */
export const words = (text) =>
  text
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== "");
export const capital = (word) => word[0].toUpperCase() + word.slice(1);
const lowerFirst = (text) => text[0].toLowerCase() + text.slice(1);

/** More words than are needed; sometimes with an example that is not to be copied. */
export function wordyDescription(slot, chance) {
  const text = lowerFirst(slot.description).replace(/^the /, "");
  const name = words(slot.name.replace(/([a-z])([A-Z])/g, "$1 $2")).join(" ");
  const clause = /^(who|which|how|where|when|what|whether)\b/.test(text);
  const long = chance.pick([
    ...(clause
      ? [`Tells ${text}`]
      : [
          `The ${text}`,
          `The ${text} that is to be used`,
          `Specifies the ${text}`,
          `The ${text} to take into account`,
        ]),
    `The ${name} as the user states it`,
    `The ${name} for this request`,
    `${capital(text)}, ${slot.required ? "required" : "optional"}`,
    `Which ${name} is meant`,
    `The ${name} of the request, given by the user`,
  ]);
  const { type } = slot.kind.schema;
  if (slot.kind.flag || slot.kind.schema.enum || !["string", "integer"].includes(type) || !chance.hit(0.2))
    return long;
  return `${long}, e.g. ${slot.kind.make(chance).value}`;
}

/** First words of descriptions that are orders. */
const ORDERS = new Set(
  `add approve archive assign book calculate cancel change check comment compare compute convert count create delete describe
download duplicate export find follow get give list lock look move order play print rate reject remind rename request
reschedule retrieve search send set share show start stop submit track transfer translate turn unblock update`.split(
    /\s+/,
  ),
);

export function wordyFunction(text, chance) {
  const rest = lowerFirst(text);
  const order = ORDERS.has(rest.split(" ")[0]);
  return chance.pick([
    ...(order ? [`Use this to ${rest}`, `This function can ${rest}`, `A function to ${rest}`] : []),
    `${text} for the user`,
    `${text} based on what is given`,
    `${text} and return the result`,
    `${text} with the details that are provided`,
    `${text} according to the arguments`,
  ]);
}
