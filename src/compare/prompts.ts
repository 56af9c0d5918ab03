// Short questions made by rule: the same for every model, none of them anybody's data, and no two that begin alike, so
// that no cache of prompts helps.

const WHEN = "Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday,Today,Tomorrow,Tonight".split(",");
const WHO =
  "my sister,our neighbour,the teacher,a young cook,the old captain,her brother,the gardener,two friends,the baker,a nurse".split(
    ",",
  );
const WHAT =
  "find the way home,repair the roof,bake bread for nine,catch the early train,write a short letter,feed the horses,cross the river,learn a song,paint the door,plant six trees".split(
    ",",
  );

/** Question `i`, of about 25 tokens. */
export function shortPrompt(i: number): string {
  const pick = <T>(list: readonly T[], n: number) => list[n % list.length]!;
  const when = pick(WHEN, i);
  const who = pick(WHO, Math.floor(i / 10) + i);
  const what = pick(WHAT, Math.floor(i / 100) + 3 * i);
  return `${i + 101}. ${when}: how can ${who} ${what} before ${(i % 11) + 1} o'clock? Answer:`;
}

/** A text of `length` characters, another one for each `i`: for endpoints, whose tokens are not known. */
export function longPrompt(i: number, length: number): string {
  let text = "";
  for (let j = 0; text.length < length; j++) text += `${shortPrompt(1000 * (i + 1) + j)}\n`;
  return text.slice(0, length);
}
