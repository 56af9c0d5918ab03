// Sentences that no function is for.

import * as L from "./lexicon.mjs";

const PLAIN =
  `hello there;good morning;how are you today;thanks a lot;that was great;never mind;you are funny;what is your name;who made you;tell me a joke
I am bored;I love you;good night;see you later;haha nice one;are you a robot;do you dream;what do you think about me;sing for me;I feel lonely;that's wrong
I don't understand;let me think about it;oh well;what a day;my head hurts;you did well;sorry about that;not now;maybe later;forget it;I changed my mind
why is the sky blue;what is the meaning of life;do aliens exist;how do magnets work;who would win, a bear or a lion;can you keep a secret;are you listening
is it wrong to lie;how old are you;where do you live;what are you doing;yes;no;okay;sure;great;hm;really;wow;why;and then;what else;nothing;hello?;test;asdf
I had a great weekend;the soup was cold;my cat is asleep;it smells like rain;we won yesterday;traffic was terrible;I like your voice;I am so tired
congratulations;happy new year;merry christmas;bless you;cheers;welcome back;long time no see;have fun;take care;be careful;good luck;well done`.split(
    /[;\n]/,
  );

const WITH = [
  (c) =>
    `my ${c.pick(["friend", "brother", "neighbor", "boss", "teacher"])} ${c.pick(L.FIRST)} likes ${c.pick(L.TOPIC)}`,
  (c) => `what do you think about ${c.pick(L.TOPIC)}`,
  (c) => `I have never been to ${c.pick(L.CITY)}`,
  (c) => `why do people like ${c.pick(L.FOOD)}`,
  (c) => `is ${c.pick(L.SUBJECT)} hard`,
  (c) => `write a poem about ${c.pick(L.TOPIC)}`,
  (c) => `tell me a story about a ${c.pick(L.ANIMAL)}`,
  (c) => `should I buy a ${c.pick(L.NOUNISH)} or a ${c.pick(L.NOUNISH)}`,
  (c) => `my ${c.pick(L.NOUNISH)} is old`,
  (c) => `who invented the ${c.pick(L.NOUNISH)}`,
  (c) => `how is a ${c.pick(L.NOUNISH)} made`,
  (c) => `what does ${L.syllables(c)} mean`,
  (c) => `I met ${c.pick(L.FIRST)} ${c.pick(L.LAST)} yesterday`,
  (c) => `${c.pick(L.CITY)} is nicer than ${c.pick(L.CITY)}`,
  (c) => `can a ${c.pick(L.ANIMAL)} swim`,
  (c) => `how long does a ${c.pick(L.NOUNISH)} last`,
  (c) => `explain why ${c.pick(L.TOPIC)} matters`,
  (c) => `my ${c.pick(L.ANIMAL)} ate my ${c.pick(L.FOOD)}`,
  (c) => `is it true that ${c.pick(L.COUNTRY)} has no ${c.pick(L.ANIMAL)}s`,
  (c) => `do you prefer ${c.pick(L.GENRE)} or ${c.pick(L.GENRE)}`,
];

/** Talk without a task. */
export const chitchat = (chance) => (chance.hit(0.4) ? chance.pick(PLAIN) : chance.pick(WITH)(chance));
