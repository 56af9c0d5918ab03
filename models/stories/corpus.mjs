// Little stories from a grammar of our own: the text that the model in this folder is trained on. Seeded; no outside data.

const NAMES =
  "Mina Tom Ada Leo Nora Ben Lila Max Ruby Sam Ivy Finn Zoe Otto Maya Hugo Anna Pip Rosa Jack".split(" ");
const ANIMALS = "fox rabbit bear mouse owl duck cat dog frog squirrel hedgehog bird turtle lamb pony".split(
  " ",
);
const TRAITS = "little kind brave shy clever curious happy quiet gentle cheerful".split(" ");
const PLACES = [
  "in a small house by the sea",
  "at the edge of a green forest",
  "on a high hill",
  "in a village near the river",
  "in a garden full of flowers",
  "under an old oak tree",
  "on a farm with red barns",
  "in a town with yellow lamps",
];
const SPOTS = [
  "the river",
  "the forest",
  "the beach",
  "the park",
  "the old bridge",
  "the market",
  "the lake",
  "the meadow",
  "the big rock",
  "the windmill",
];
const THINGS = [
  "a red ball",
  "a blue kite",
  "a shiny stone",
  "a warm hat",
  "a silver bell",
  "a wooden boat",
  "a yellow umbrella",
  "a golden key",
  "a paper star",
  "a round drum",
  "a soft blanket",
  "a tiny lantern",
];
const WEATHER = [
  "The sun was warm",
  "The wind was strong",
  "It was raining a little",
  "The sky was clear and blue",
  "Snow was falling",
  "It was a foggy day",
  "The clouds looked like sheep",
];
const FEELINGS = ["sad", "worried", "lost", "tired", "scared", "lonely"];
const FOODS = ["warm bread", "apple pie", "sweet berries", "honey cake", "hot soup", "a big pancake"];
const LESSONS = [
  "From that day on, they helped each other every day.",
  "And they knew that a good friend is worth more than any treasure.",
  "After that, nobody in the village felt alone.",
  "They learned that it is good to ask for help.",
  "They learned that being kind is a kind of magic.",
  "And that night, everyone slept well under the stars.",
];

/** A number generator with a seed: Math.random has none. */
export function generator(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const the = (thing) => thing.replace(/^an? /, "the ");
const a = (word) => (/^[aeiou]/.test(word) ? `an ${word}` : `a ${word}`);
const upper = (text) => text[0].toUpperCase() + text.slice(1);

/** One story of 6 to 12 sentences. */
export function story(random) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const other = (list, not) => {
    for (;;) {
      const x = pick(list);
      if (x !== not) return x;
    }
  };
  const name = pick(NAMES);
  const animal = pick(ANIMALS);
  const friend = other(NAMES, name);
  const friendAnimal = other(ANIMALS, animal);
  const trait = pick(TRAITS);
  const girl = /a$|^(Ruby|Ivy|Zoe)$/.test(name);
  const [she, her] = girl ? ["she", "her"] : ["he", "his"];
  const friendGirl = /a$|^(Ruby|Ivy|Zoe)$/.test(friend);
  const friendShe = friendGirl ? "she" : "he";
  const thing = pick(THINGS);
  const spot = pick(SPOTS);
  const feeling = pick(FEELINGS);
  const food = pick(FOODS);

  const opening = pick([
    `Once upon a time, there was ${a(trait)} ${animal} named ${name}. ${name} lived ${pick(PLACES)}.`,
    `Once upon a time, ${a(trait)} ${animal} named ${name} lived ${pick(PLACES)}.`,
    `One day, ${a(trait)} ${animal} named ${name} woke up early. ${upper(she)} lived ${pick(PLACES)}.`,
    `There once was ${a(animal)} whose name was ${name}. Everyone said that ${name} was very ${trait}.`,
  ]);
  const want = pick([
    `${name} had ${thing} and loved it more than anything.`,
    `One morning, ${name} found ${thing} near ${spot}.`,
    `${upper(her)} mother gave ${name} ${thing}. "Take good care of it," ${girl ? "her" : "his"} mother said.`,
    `More than anything, ${name} wanted ${thing}.`,
  ]);
  const had = !want.includes("wanted");
  const trouble = had
    ? pick([
        `${pick(WEATHER)}. ${name} went to ${spot} to play, but ${the(thing)} fell into the water.`,
        `${pick(WEATHER)}. ${name} walked to ${spot}. On the way, ${she} lost ${the(thing)}.`,
        `${name} took ${the(thing)} to ${spot}. But a big gust of wind carried it away.`,
      ])
    : pick([
        `${pick(WEATHER)}. ${upper(she)} looked near ${spot}, but there was nothing there.`,
        `${name} walked all the way to ${spot} to look for one. It was not there.`,
      ]);
  const sad = pick([
    `${name} felt very ${feeling}.`,
    `${upper(she)} sat down and felt ${feeling}.`,
    `"Oh no," said ${name}. ${upper(she)} was ${feeling}.`,
  ]);
  const meeting = pick([
    `Then ${a(friendAnimal)} named ${friend} came by. "Why are you so ${feeling}?" asked ${friend}.`,
    `Just then, ${name} met ${friend} the ${friendAnimal}. "What is wrong?" asked ${friend}.`,
    `${upper(a(friendAnimal))} named ${friend} heard ${girl ? "her" : "him"} and came closer. "Can I help you?" asked ${friend}.`,
  ]);
  const answer = had
    ? pick([`"I lost ${the(thing)}," said ${name}.`, `"${upper(the(thing))} is gone," said ${name}.`])
    : pick([`"I wish I had ${thing}," said ${name}.`, `"I am looking for ${thing}," said ${name}.`]);
  const plan = pick([
    `${friend} thought for a while. "I have an idea," ${friendShe} said.`,
    `"Do not cry," said ${friend}. "We can look for it together."`,
    `${friend} smiled. "Two can find more than one," ${friendShe} said.`,
  ]);
  const solved = had
    ? pick([
        `They looked behind every tree and under every leaf. At last, ${friend} found ${the(thing)} near ${spot}.`,
        `${friend} climbed up high and looked around. "I see it!" ${friendShe} called. There was ${the(thing)}, safe and sound.`,
        `They followed the path back to ${spot}. There, in the grass, was ${the(thing)}.`,
      ])
    : pick([
        `They worked all day, and in the evening they had made ${thing} with their own hands.`,
        `${friend} ran home and came back with ${thing}. "You can have mine," ${friendShe} said.`,
      ]);
  const thanks = pick([
    `${name} was so happy that ${she} danced. "Thank you, ${friend}!" ${she} said.`,
    `"You are a true friend," said ${name}, and gave ${friend} a big hug.`,
    `${name} laughed and jumped up and down. "Thank you!" ${she} said.`,
  ]);
  const feast =
    random() < 0.6
      ? [
          pick([
            `Then they went home and ate ${food}.`,
            `${name} shared ${food} with ${friend}.`,
            `In the evening they sat by the fire and ate ${food}.`,
          ]),
        ]
      : [];
  return [opening, want, trouble, sad, meeting, answer, plan, solved, thanks, ...feast, pick(LESSONS)].join(
    " ",
  );
}

/** `count` stories. */
export function stories(count, seed) {
  const random = generator(seed);
  return Array.from({ length: count }, () => story(random));
}
