// What people ask an assistant day by day, and remarks that ask for nothing: sentences for which a few functions about
// something else have no use. Ours, written for this; "{x}" stands for a value. Boundary: these texts know of no function; whether
// one of the functions at hand could be meant is for `farFrom` to say, by words that both have.

import { words } from "./describe.mjs";
import * as L from "./lexicon.mjs";

const REQUESTS = `
what is my credit limit;raise the limit on my card;I lost my wallet;freeze the visa;when is my rent due;which bank is open on sundays;how do I dispute a charge
did my paycheck arrive;report a stolen card;order new checks;what is the routing number;how much did I spend on {topic};activate the debit card;change my pin
is my passport still valid;do I need a visa for {country};how many miles do I have;what can I carry on the plane;which plugs do they use in {country}
what shots do I need for {country};is {city} safe at night;what is the tipping custom in {country};tell me some fun things in {city};what language do they speak in {country}
when do I change the oil;what is the tire pressure;jump start a car;how do I fix a flat;is the gas tank full;what does the engine light mean;rotate my tires
how many days off do I have left;who is my manager;tell human resources I moved;when is the next raise;what is on my tax form;sign me up for dental;what is the dress code
turn this into a joke;flip a coin;speak slower please;talk louder;change your voice;call me captain;what should I call you;repeat that;stop talking;be quiet
what can you do;which languages do you speak;are you human;who built you;what do you do all day;where are you from;what is your favorite {topic};how much do you cost
add {ingredient} to the shopping list;how long do I cook {food};what is in {food};can I freeze {food};how spicy is {food};what goes well with {food};is {ingredient} still good
where did I leave my keys;find my phone;what time do the shops close;how do I spell necessary;what rhymes with orange;what is the square root of 81;tell me a story
who won the election;who is the president of {country};how tall is {person};when was {person} born;what is the capital of {country};how many people live in {city}
why do people like {topic};give me tips for {topic};what is so good about {topic};what is the history of {topic};how do I learn {topic};who invented {topic}
sing happy birthday;beat box for me;do an impression;make a cat sound;knock knock;surprise me;entertain me;cheer me up;wish me luck;give me a compliment
how do I get a stain out of a shirt;how do I tie a tie;how long should I boil an egg;why does my back hurt;how many cups are in a gallon;what is a good gift for {person}
dispute the parking fine;cut the grass;walk the dog;fold the laundry;iron my shirt;feed the {animal};wash the windows;paint the fence;sharpen the knives
what are the symptoms of {disease};am I sick;how many hours should I sleep;is it cold outside;should I wear a coat;will it be sunny;how hot does it get in {city}
help;help me;start over;go back;undo that;what was that;I need help;do something;can you help me with something;I have a question;I need some advice`;

const REMARKS = `
hello;hi;hey;hi there;good morning;good evening;thanks;thank you;thank you so much;ok;okay then;yes;no;maybe;sure;fine by me;cool;nice;bye;goodbye;see you;wait;hm
I already did that;nothing else for today;that is all;you are great;I was just thinking;it is late;I am hungry;I am at home;we are on our way;it was a good day
my neighbor is loud again;{person} is a nice person;I saw {person} in {city};we ate {food} yesterday;I do not like {food};I am allergic to {ingredient}
I used to live in {city};the {animal} is sleeping;my {noun} is broken;I have a new {noun};I do not care for {topic};I read about {topic};we talked about {topic}
that was not what I meant;you got that wrong;I am not sure;I will do it myself;I was only joking;let me see;give me a minute;what a mess;never mind then`;

const parse = (text) =>
  text
    .trim()
    .split(/[;\n]/)
    .filter((line) => line !== "");
const [requests, remarks] = [parse(REQUESTS), parse(REMARKS)];
const VALUES = {
  topic: L.TOPIC,
  country: L.COUNTRY,
  city: L.CITY,
  food: L.FOOD,
  ingredient: L.INGREDIENT,
  disease: L.DISEASE,
  animal: L.ANIMAL,
  noun: L.NOUNISH,
  person: L.FIRST,
};

/** A sentence for no function in particular: two in three ask for something. */
export const everyday = (chance) =>
  chance
    .pick(chance.hit(0.67) ? requests : remarks)
    .replace(/\{(\w+)\}/g, (_, name) => chance.pick(VALUES[name]));

/** Functions that a general question is for. */
const GENERAL =
  /search|google|explain|explanation|news|article|trivia|translate|weather|note|message|remind/i;
/** Words that name a field though they differ: what shares one is near. */
const FIELDS = [
  "weather forecast cold hot sunny outside coat rain snow umbrella temperature climate",
  "bank account balance money card credit debit pay paycheck payment spend cost charge rent budget price salary bill tax wallet checks loan",
  "food dish recipe cook meal eat hungry calories ingredient ingredients nutrition kitchen egg boil freeze diet restaurant ate",
  "car vehicle gas oil tire tires engine drive fuel parking truck",
  "trip travel flight plane visa passport country miles safe city hotel vacation tourist attractions sights",
  "music song play sing volume sound beat louder voice talk speak quiet stop",
  "health symptoms sick disease doctor medicine shots hurt sleep hours illness drug allergic",
  "time clock hour hours late day sleep alarm timer calendar schedule",
  "work manager leave vacation raise days employee resources human boss job salary",
  "call phone message text email contact tell",
  "animal pet dog cat feed species",
  "population people inhabitants live capital president birth born height tall head date",
  "shopping list groceries shop shops store order buy",
  "house room clean windows laundry chore garden grass plant plants",
  "game coin dice joke story",
  "number root square calculate",
  "repair fix broken device noun machine",
  "language languages speak",
].map((line) => new Set(line.split(" ")));
const STOP = new Set(
  "a an the of to and in on for get find show create add is are was my me i you it what how who when which do does did can need with that this new name not have be will at or from by one no all up there some any so about as user given".split(
    " ",
  ),
);
const stems = (text) =>
  words(text.replace(/([a-z])([A-Z])/g, "$1 $2").replaceAll("_", " ")).filter((word) => !STOP.has(word));
const stem = (word) => word.replace(/(ies|y)$/, "i").replace(/(?<=...)s$/, "");

const spokenOf = ({ kind, thing, verb, action, formula, lookup }) =>
  ({
    thing: () => [...thing.others, ...verb.heads].join(" "),
    action: () => [...action.names, ...action.heads].join(" "),
    formula: () => formula.result,
    lookup: () => [...lookup.others, ...lookup.names].join(" "),
  })[kind]();

/** Whether a sentence has nothing to do with a function, by words of its name, description and beginnings. */
export function farFrom(text, { tool, family }) {
  const told = `${tool.name} ${tool.description ?? ""} ${family.domain} ${Object.keys(tool.parameters.properties).join(" ")}`;
  if (GENERAL.test(told)) return false;
  const own = stems(`${told} ${spokenOf(family)}`);
  const said = stems(text);
  const known = new Set(own.map(stem));
  if (said.some((word) => known.has(stem(word)))) return false;
  return !FIELDS.some((field) => said.some((word) => field.has(word)) && own.some((word) => field.has(word)));
}
