// Words that values are made of: people, places, things. Of our own making; a share of all names is made of random
// syllables, so that copying is learned and not the list.

const words = (text) => text.trim().split(/\s+/);
const lines = (text) =>
  text
    .trim()
    .split(/\s*[;\n]\s*/)
    .filter((x) => x !== "");

export const FIRST = words(`
Ada Adrian Agnes Ahmed Aiko Alba Alexei Alice Amara Amir Ana Anders Andrea Anika Anton Arjun Astrid Aya Beatriz Ben
Bianca Bjorn Boris Bruno Camille Carlos Carmen Cecilia Chen Chidi Chloe Clara Claire Dalia Damian Daniel Daria David
Diego Dmitri Edith Elena Eli Elias Elif Ella Emeka Emil Emma Erik Esra Esther Eva Fabian Farah Fatima Felix Fiona
Florian Francesca Freya Gabriel Gita Giulia Greta Gustav Hana Hannah Harold Hassan Helena Henrik Hugo Ibrahim Ida Igor
Imani Ines Ingrid Irene Isaac Ivan Jack Jamal James Jana Jasper Joao Johanna Jonas Jorge Josephine Julia Jun Kai Kamal
Karen Karim Kate Kavya Keiko Kenji Kofi Laila Lars Laura Layla Leila Leon Liam Lina Linh Lotte Louis Lucia Luis Lukas
Maria Magnus Malik Manuel Marco Margaret Mateo Maya Mei Mia Miguel Mila Mohamed Monika Nadia Naomi Nadir Nikolai Nina
Nora Oliver Olga Omar Oscar Otto Pablo Paula Pedro Petra Philip Priya Quentin Rafael Rania Ravi Rebecca Rhea Rita
Robert Rosa Ruth Sakura Salma Samir Samuel Sara Sebastian Selma Sergei Shira Simon Sofia Sonia Stefan Suresh Svetlana
Tariq Teresa Theo Thomas Tomas Uma Ursula Valentina Vera Victor Vikram Viola Walter Wanda Wei Xavier Yara Yasmin Yusuf
Yuki Zahra Zoe Zofia`);
export const LAST = words(`
Abbott Abe Achterberg Adeyemi Aguilar Ahmadi Almeida Andersen Aoki Arslan Bakker Banerjee Barros Bauer Becker Bergman
Bianchi Blom Borges Bouchard Brandt Brennan Castillo Chang Chaudhry Cohen Conti Costa Cruz Dahl Das Delgado Demir Diallo
Dubois Duran Eriksen Esposito Farouk Fernandez Fischer Fontaine Fraser Fujita Garcia Georgiou Gomez Gonzalez Greenwood
Gruber Gupta Haddad Hakimi Hansen Hartmann Hayashi Hernandez Hoang Horvat Hughes Ibarra Ishikawa Ivanov Jansen Jensen
Johansson Jovanovic Kapoor Kaplan Kaya Keller Khalil Kim Kovacs Kowalski Kruger Kumar Laine Larsen Laurent Lehmann Lewis
Lindgren Lopez Lund MacLeod Mahmoud Marchetti Martin Mbeki Mendes Meyer Mishra Moreau Morgan Mueller Murphy Nakamura
Navarro Nguyen Novak Nowak Nwosu Okafor Oliveira Olsen Ortega Osman Otieno Park Patel Pereira Petrov Popescu Quist Ramos
Reyes Ricci Rossi Roth Ruiz Saito Salazar Santos Sato Schmidt Schneider Sharma Silva Singh Sokolov Sorensen Stein Suzuki
Tan Tanaka Torres Tran Ueda Urban Vargas Varga Vasquez Vogel Wagner Walsh Watanabe Weber Weiss Wong Yamamoto Yilmaz Young
Zeman Zhang Ziegler`);
export const CITY = lines(`
Amsterdam; Antwerp; Athens; Auckland; Austin; Baku; Bangkok; Barcelona; Basel; Beirut; Belgrade; Bergen; Berlin; Bilbao
Bogota; Bologna; Bordeaux; Boston; Bremen; Brisbane; Brno; Bristol; Brussels; Bucharest; Budapest; Buenos Aires; Cairo
Calgary; Cape Town; Caracas; Cardiff; Casablanca; Chicago; Cologne; Copenhagen; Cordoba; Cusco; Dakar; Dallas; Delhi
Denver; Detroit; Dhaka; Dortmund; Dresden; Dubai; Dublin; Durban; Edinburgh; Florence; Frankfurt; Gdansk; Geneva; Ghent
Glasgow; Granada; Graz; Hamburg; Hanoi; Havana; Helsinki; Ho Chi Minh City; Hong Kong; Houston; Istanbul; Jaipur; Jakarta
Jerusalem; Johannesburg; Kathmandu; Kigali; Krakow; Kuala Lumpur; Kyoto; La Paz; Lagos; Lahore; Leeds; Leipzig; Lille
Lima; Lisbon; Liverpool; Ljubljana; London; Los Angeles; Luxembourg; Lyon; Madrid; Malmo; Manchester; Manila; Marseille
Melbourne; Mexico City; Miami; Milan; Minneapolis; Montevideo; Montreal; Mumbai; Munich; Nairobi; Naples; New Orleans
New York; Nice; Odense; Osaka; Oslo; Ottawa; Oxford; Palermo; Panama City; Paris; Perth; Philadelphia; Phoenix; Pisa
Portland; Porto; Prague; Quebec; Quito; Reykjavik; Riga; Rio de Janeiro; Rome; Rotterdam; Salzburg; San Diego
San Francisco; Santiago; Sao Paulo; Sapporo; Sarajevo; Seattle; Seoul; Seville; Shanghai; Singapore; Sofia; Split
Stockholm; Strasbourg; Stuttgart; Sydney; Taipei; Tallinn; Tampere; Tbilisi; Tirana; Tokyo; Toronto; Toulouse; Tunis
Turin; Utrecht; Valencia; Vancouver; Venice; Verona; Vienna; Vilnius; Warsaw; Wellington; Yerevan; York; Zagreb; Zurich
Ashford; Brackenridge; Cedar Falls; Dunmore; Eastvale; Fairhaven; Glen Ridge; Harlow; Kingsport; Lakewood; Maple Grove
Newbury; Oak Park; Pinehurst; Rockport; Silverton; Thornbury; Upton; Westfield; Windermere`);
export const COUNTRY = lines(`
Albania; Algeria; Angola; Argentina; Armenia; Australia; Austria; Bangladesh; Belgium; Bolivia; Brazil; Bulgaria; Cambodia
Cameroon; Canada; Chile; China; Colombia; Costa Rica; Croatia; Cuba; Cyprus; Denmark; Ecuador; Egypt; Estonia; Ethiopia
Finland; France; Georgia; Germany; Ghana; Greece; Guatemala; Hungary; Iceland; India; Indonesia; Iran; Iraq; Ireland
Israel; Italy; Jamaica; Japan; Jordan; Kazakhstan; Kenya; Laos; Latvia; Lebanon; Lithuania; Malaysia; Mali; Malta; Mexico
Mongolia; Morocco; Mozambique; Namibia; Nepal; New Zealand; Nigeria; Norway; Pakistan; Peru; Poland; Portugal; Qatar
Romania; Rwanda; Saudi Arabia; Senegal; Serbia; Slovakia; Slovenia; South Africa; South Korea; Spain; Sri Lanka; Sweden
Switzerland; Syria; Tanzania; Thailand; Tunisia; Turkey; Uganda; Ukraine; United Kingdom; Uruguay; Uzbekistan; Vietnam
Yemen; Zambia; Zimbabwe; the United States; the Netherlands; the Philippines`);
export const REGION = lines(`
Alaska; Alberta; Andalusia; Arizona; Bavaria; Brittany; British Columbia; California; Catalonia; Colorado; Florida
Georgia; Hawaii; Hokkaido; Idaho; Illinois; Kansas; Kerala; Kentucky; Lombardy; Maine; Maryland; Massachusetts; Michigan
Minnesota; Montana; Nevada; New Jersey; New South Wales; Normandy; North Carolina; Ohio; Ontario; Oregon; Punjab
Queensland; Saxony; Scotland; Sicily; Tasmania; Tennessee; Texas; Tuscany; Tyrol; Utah; Vermont; Victoria; Virginia
Wales; Washington; Wisconsin; Wyoming; Yorkshire; Yucatan`);
export const COMPANY_PARTS = words(`
Acme Aldera Alpine Amber Apex Arbor Argo Atlas Aurora Axiom Beacon Birch Blue Boreal Bright Cargo Cedar Cinder Citrus Clear
Cobalt Compass Copper Coral Crest Crown Delta Drift Eagle Echo Ember Falcon Field First Flint Forge Frontier Garnet Global
Granite Green Grove Harbor Haven Helix Horizon Indigo Iron Ivory Jade Juniper Kestrel Lark Lumen Lynx Maple Meridian Metro
Mint Mosaic Nexus Nimbus Noble North Nova Oak Obsidian Ocean Onyx Orbit Osprey Pacific Pearl Pine Pioneer Polar Prime
Quantum Quill Rapid Raven Redwood Ridge River Sable Sage Silver Solar Sparrow Spruce Star Stone Summit Swift Terra Thistle
Timber Titan Union Vale Vector Velvet Vertex Violet Vista Willow Wren Zenith Zephyr`);
export const COMPANY_ENDS = lines(`
Labs; Ltd; Inc; Group; Partners; Bank; Foods; Motors; Energy; Media; Logistics; Systems; Studio; Works; Trading; Insurance
Health; Tools; Robotics; Textiles; Airlines; Books; Coffee; Bikes; Software; Capital; Realty; Supply; & Sons; & Co`);
export const PRODUCT = lines(`
laptop; desk lamp; office chair; wireless mouse; mechanical keyboard; running shoes; rain jacket; coffee grinder; espresso machine
water bottle; yoga mat; electric kettle; hiking boots; backpack; phone case; usb cable; monitor stand; bluetooth speaker
noise cancelling headphones; smart watch; tablet; camera lens; tripod; hard drive; printer paper; ink cartridge; notebook
fountain pen; sleeping bag; camping stove; tent; bicycle pump; bike helmet; garden hose; lawn mower; cordless drill
screwdriver set; paint roller; ladder; toaster; blender; rice cooker; frying pan; chef knife; cutting board; wine glasses
dinner plates; bath towels; bed sheets; pillow; wool blanket; winter coat; leather belt; sun hat; swim goggles; tennis racket
soccer ball; chess set; board game; puzzle; doll house; toy train; baby stroller; car seat; dog leash; cat litter; fish tank
bird feeder; flower pot; fertilizer; light bulbs; extension cord; power bank; solar panel; air purifier; humidifier; fan
space heater; vacuum cleaner; iron; sewing machine; guitar strings; drum sticks; microphone; music stand; easel; watercolors
graphics card; network switch; router; webcam; label maker; paper shredder; stapler; whiteboard; safety gloves; hard hat`);
export const FOOD = lines(`
lasagna; pad thai; ramen; tacos; sushi; paella; risotto; goulash; pierogi; moussaka; falafel; hummus; shakshuka; chicken curry
butter chicken; biryani; dal; naan; pho; bibimbap; kimchi stew; fried rice; spring rolls; dumplings; miso soup; tempura; ceviche
empanadas; feijoada; jollof rice; tagine; couscous; borscht; ratatouille; quiche; crepes; onion soup; beef stew; shepherd's pie
fish and chips; roast chicken; meatloaf; mac and cheese; chili; cornbread; pancakes; waffles; apple pie; cheesecake; tiramisu
brownies; banana bread; carrot cake; chocolate mousse; lemon tart; ice cream; pumpkin soup; lentil soup; greek salad
caesar salad; caprese; bruschetta; gnocchi; carbonara; pesto pasta; margherita pizza; calzone; veggie burger; grilled salmon
tuna sandwich; omelette; scrambled eggs; granola; smoothie bowl; oatmeal; bagel; croissant; sourdough bread; pretzel`);
export const INGREDIENT = words(`
flour sugar salt butter milk eggs cream cheese yogurt rice pasta beans lentils chickpeas tofu chicken beef pork lamb salmon
tuna shrimp onions garlic ginger carrots celery potatoes tomatoes cucumber spinach kale broccoli cauliflower mushrooms peppers
zucchini eggplant corn peas lettuce cabbage avocado lemons limes oranges apples bananas pears grapes strawberries blueberries
raspberries mango pineapple almonds walnuts peanuts cinnamon cumin paprika turmeric basil parsley cilantro thyme rosemary
oregano mint honey vinegar mustard mayonnaise ketchup oats bread yeast vanilla chocolate coffee tea`);
export const TITLE_ADJ = words(`
Silent Golden Broken Hidden Last First Lost Crimson Midnight Electric Paper Winter Summer Burning Frozen Distant Endless
Secret Wild Gentle Hollow Lonely Shining Bitter Sweet Velvet Rising Falling Ancient Blue Red Green Black White Quiet Strange
Little Great Dark Bright Wandering Forgotten Sleeping Dancing Neon Invisible Crooked Northern Southern Second Final Open`);
export const TITLE_NOUN = words(`
River Garden Road House Light Shadow Heart Dream Song Night Morning Star Moon Sun Sea Mountain Forest City Street Window Door
Mirror Letter Voice Bird Wolf Horse Lion Rose Tree Stone Fire Rain Snow Storm Wind Cloud Sky Island Bridge Tower Kingdom
Empire Crown Sword Ship Train Station Hotel Dance Waltz Summer Winter Harvest Promise Memory Story Game Machine Engine Robot
Planet Galaxy Circle Line Number Code Key Map Journey Return Escape Silence Thunder Echo Ghost Angel Stranger Daughter Son
Brothers Sisters Mother Father Doctor King Queen`);
export const SPORT_TEAM = lines(`
Lions; Tigers; Eagles; Hawks; Falcons; Bears; Wolves; Sharks; Bulls; Panthers; Ravens; Rangers; Rovers; United; Wanderers
Athletic; Dynamo; Olympic; Spartans; Titans; Giants; Royals; Knights; Pirates; Vikings; Warriors; Comets; Rockets; Stars
Thunder; Lightning; Storm; Hurricanes; Waves; Dolphins; Stallions; Mustangs; Bisons; Foxes; Hornets; Kings; Saints`);
export const ARTIST_WORD = words(`
Arctic Velvet Paper Copper Neon Silver Glass Marble Cosmic Electric Plastic Wooden Desert Ocean Winter Midnight Sunday Monday
Foxes Owls Pilots Kites Lanterns Mirrors Rivers Canyons Harbors Tides Engines Strangers Brothers Sisters Prophets Sailors
Gardeners Astronauts Parade Orchestra Collective Quartet Ensemble Machine Society Club`);
export const GENRE = words(`
rock pop jazz blues soul funk reggae techno house ambient folk country metal punk classical opera hiphop disco indie gospel
salsa samba tango flamenco bluegrass swing grunge dubstep electronic latin`);
export const LANGUAGE = words(`
English Spanish French German Italian Portuguese Dutch Swedish Norwegian Danish Finnish Polish Czech Hungarian Romanian
Bulgarian Greek Turkish Russian Ukrainian Arabic Hebrew Persian Hindi Urdu Bengali Tamil Thai Vietnamese Korean Japanese
Mandarin Cantonese Indonesian Malay Swahili Zulu Latin Welsh Irish Icelandic Catalan Basque`);
export const CURRENCY = lines(`
USD=dollars,US dollars,USD; EUR=euros,EUR; GBP=pounds,British pounds,GBP; JPY=yen,Japanese yen,JPY; CHF=Swiss francs,francs,CHF
CAD=Canadian dollars,CAD; AUD=Australian dollars,AUD; SEK=Swedish kronor,SEK; INR=rupees,Indian rupees,INR; CNY=yuan,CNY
MXN=Mexican pesos,pesos,MXN; BRL=reais,BRL; PLN=zloty,PLN; NOK=Norwegian kroner,NOK; KRW=won,KRW; TRY=lira,Turkish lira,TRY`);
export const ANIMAL = lines(`
dog; cat; parrot; rabbit; hamster; goldfish; turtle; horse; cow; goat; sheep; pig; chicken; duck; wolf; fox; bear; deer; moose
otter; beaver; eagle; owl; falcon; penguin; dolphin; whale; shark; salmon; octopus; elephant; lion; tiger; leopard; giraffe
zebra; hippo; rhino; gorilla; lemur; koala; kangaroo; panda; camel; bat; hedgehog; squirrel; frog; snake; honey bee; monarch butterfly`);
export const PLANT = lines(`
tomato; basil; rose; tulip; oak; maple; wheat; barley; corn; soybean; potato; sunflower; lavender; fern; cactus; orchid; ivy
mint; strawberry; apple tree; olive; grape vine; rice; sugar cane; cotton; coffee; bamboo; spruce; birch; clover`);
export const CHEMICAL = lines(`
water; methane; ethanol; benzene; ammonia; sodium chloride; carbon dioxide; sulfuric acid; glucose; hydrogen peroxide; acetone
calcium carbonate; nitrogen; oxygen; helium; iron; copper; gold; silver; aluminum; lead; mercury; zinc; titanium; silicon
uranium; potassium; magnesium; chlorine; caffeine; aspirin; propane; toluene; silica; ozone`);
export const MATERIAL = words(`
steel wood glass concrete rubber plastic copper brass bronze aluminum iron ice granite marble leather cotton wool silk nylon
ceramic clay bamboo cork diamond graphite lead tin zinc gold silver titanium`);
export const DISEASE = lines(`
flu; diabetes; asthma; migraine; hypertension; eczema; arthritis; pneumonia; anemia; malaria; measles; tuberculosis; hepatitis
bronchitis; insomnia; hay fever; back pain; sprained ankle; tonsillitis; sinusitis; celiac disease; gout; psoriasis; vertigo`);
export const MEDICINE = words(`
ibuprofen paracetamol aspirin amoxicillin metformin lisinopril atorvastatin omeprazole insulin warfarin prednisone cetirizine
loratadine sertraline salbutamol naproxen doxycycline levothyroxine gabapentin tramadol`);
export const SUBJECT = lines(`
algebra; geometry; calculus; statistics; physics; chemistry; biology; astronomy; geology; geography; world history; art history
literature; philosophy; economics; accounting; law; psychology; sociology; music theory; drawing; programming; databases
machine learning; linguistics; Latin; robotics; nutrition; anatomy; genetics; ecology; ethics; political science; marketing`);
export const TOPIC = lines(`
climate change; electric cars; renewable energy; space travel; quantum computing; remote work; interest rates; the housing market
school lunches; ocean plastics; chess openings; ancient Rome; sourdough baking; marathon training; video games; urban gardening
sleep habits; artificial intelligence; cyber security; tax reform; the water supply; migratory birds; coral reefs; coffee farming
mountain rescue; vintage cameras; street food; train travel; solar storms; deep sea fishing; meditation; personal finance
home insulation; wild mushrooms; road safety; beekeeping; tiny houses; jazz history; board games; vaccines; folk tales`);
export const ROOM = lines(`
kitchen; living room; bedroom; bathroom; garage; basement; attic; office; hallway; dining room; nursery; guest room; laundry room
study; balcony; patio; garden; workshop; cellar; porch; library; conference room; lobby; server room; warehouse; loading dock`);
export const FILE_STEM = words(`
report budget notes invoice draft summary photo backup config readme schedule contract resume slides thesis log inventory
customers orders sales results analysis minutes recipe letter plan survey data model index main setup script travel receipts
holiday family project design logo menu agenda metrics users`);
export const FILE_EXT = words(
  `pdf txt csv docx xlsx png jpg json xml md zip log py js html mp3 mp4 yaml sql pptx`,
);
export const NOUNISH = words(`
apple anchor badge basket battery bell bench blanket board bolt book bottle box bracket brick brush bucket button cable camera
candle card carpet chain chair clock coat coin comb cord crate cup curtain desk drum engine fabric fan fence filter flag folder
fork frame gate gear glass glove hammer handle hat hinge hook hose jacket jar kettle key kite knife ladder lamp lens lever lid
lock map mask mat mirror motor mug nail needle net notebook oven paddle paint panel pen pencil pillow pipe plate pump rack
rope ruler sail saw scale screen screw shelf shovel sign sink sock spoon spring stamp stove strap switch table tank tape tile
tray umbrella valve vase wheel whistle window wire wrench zipper`);

const ONSET = words(
  "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p pl pr qu r s sc sh sk sl sm sn sp st str t th tr v w y z",
);
const VOWEL = words("a e i o u a e i o u ai au ea ee ei ia ie io oa oo ou");
const CODA = [
  "",
  "",
  "",
  "",
  "n",
  "r",
  "l",
  "s",
  "m",
  "t",
  "k",
  "nd",
  "rt",
  "x",
  "sh",
  "th",
  "ng",
  "rk",
  "st",
];

/** A word that nobody has heard of. */
export function syllables(chance, low = 2, high = 3) {
  let word = "";
  for (let n = chance.int(low, high); n > 0; n--)
    word += chance.pick(ONSET) + chance.pick(VOWEL) + (n === 1 || chance.hit(0.3) ? chance.pick(CODA) : "");
  return word;
}

export const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);
