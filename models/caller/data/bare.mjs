// Beginnings of sentences that name no argument, for what people say when they leave something out: "set an alarm", "book
// a table". Their rests may bring arguments in or not, so that the beginning alone does not tell whether one is missing.
// "~": a note or a question, which takes no "please". Boundary: what is here is said of a family and never of a value.

/** Of functions of their own kind, by their first name. */
const ACTIONS = `
set_temperature|set the temperature;change the temperature;adjust the heating;turn up the heating
turn_on|turn something on;switch on a device;power up one of the devices;turn it on
turn_off|turn something off;switch off a device;shut down one of the devices;turn it off
dim_lights|dim the lights;set the brightness;change the brightness of the lights
set_light_color|change the color of the lights;change the light color;set a light color
lock_door|lock the door;lock a door;bolt the door
open_blinds|open the blinds;raise the shutters;move the blinds
start_vacuum|start the vacuum robot;vacuum;have the robot clean
play_music|play a song;play some track;put on a song;start a song
play_artist|play some artist;put on music of an artist;play a band
play_genre|play some genre;put on a music genre;play the radio by genre
set_volume|set the volume;change the volume;adjust the volume
pause_playback|pause the music;stop playing;pause it
next_track|skip this song;next song please;play the next track
watch_movie|play a movie;put on a film;start the film;watch a movie
recommend_movies|recommend a movie;suggest a film;recommend me some movies
recommend_books|recommend a book;suggest a book;suggest something to read
movie_showtimes|get the show times;~when is the movie on;look up show times
get_weather|get the weather;~what's the weather like;show the forecast;~how is the weather
weather_by_coordinates|get the weather at a position;~what's the weather there
air_quality|check the air quality;~how clean is the air;check the pollution
snow_report|get the snow report;~how much snow is there
set_timer|set a timer;start a timer;start a countdown;put on a timer
set_alarm|set an alarm;set the alarm clock;make an alarm;create an alarm
local_time|tell me the time there;check the local time;~what time is it there
convert_time_zone|convert a time between cities;convert the time;convert a time
days_between|count the days;~how many days are there between two dates;count days between dates
add_reminder|remind me;set a reminder;add a reminder;make a reminder
check_calendar|check the calendar;show my schedule;~what do I have planned
send_message|send a message;text someone;write a message;message somebody
make_call|make a call;call someone;phone somebody;start a call
send_email|send an email;write an email;email someone
translate_text|translate something;translate a text;make a translation
summarize_text|summarize a file;summarize the file;make a summary of a file
post_update|post something;publish a post;write a post
check_spelling|check the spelling;correct the spelling of a text;check my spelling
web_search|search the web;run a web search;search for something online;google something
find_restaurants|find a restaurant;find restaurants;look for a place to eat
find_flights|find flights;search for a flight;look for flights;find me a flight
find_hotels|find a hotel;search hotels;look for a hotel
find_jobs|find jobs;look for a job;search vacancies
find_recipes|find a recipe;look for recipes;search for a recipe
find_events|find events;look for events;~anything going on
news_search|show me the news;get the headlines;look for news
find_houses|find houses;search for a house;look for apartments
find_doctor|find a doctor;look for a specialist;find me a doctor
find_lawyer|find a lawyer;look for an attorney;find me a lawyer
court_case_search|find court cases;search for court cases;look up lawsuits
nearby_places|find places nearby;search for places around an address;find spots nearby
product_search|find a product;search for a product;look for an item in the shop
paper_search|find papers;search for scientific papers;look for studies
get_directions|get directions;plan a route;navigate;show me the way
distance_between|calculate a distance;~how far is it;measure the distance
traffic_info|check the traffic;~how is the traffic;look at the traffic
find_parking|find parking;look for a parking space;find a place to park
order_taxi|order a taxi;get me a taxi;call a cab;book a taxi
geocode|locate an address;find the coordinates of an address;get coordinates
convert_currency|convert money;exchange money;convert a currency;change some money
transfer_money|transfer money;send money;wire some money;make a transfer
pay_bill|pay a bill;pay the bill;settle a bill
buy_stock|buy stock;buy shares;purchase some shares
sell_stock|sell stock;sell shares;sell some of my shares
stock_history|show the price history;get past prices of a stock;show past prices
check_balance|check the balance;~what's the balance;check an account balance
split_bill|split the bill;divide the check;split a bill
set_budget|set a budget;make a monthly budget;set my budget
delete_file|delete a file;remove a file;erase a file
move_file|move a file;relocate a file;move one of my files
copy_file|copy a file;duplicate a file;make a copy of a file
rename_file|rename a file;change the name of a file
create_folder|make a folder;create a directory;create a new folder
list_files|list the files;show all files;list files in a folder
find_files|find files;search for files;look for a file
compress_files|zip some files;compress files;pack some files
convert_file|convert a file;change the format of a file
run_script|run a script;execute a script;start a script
download_file|download something;download a file;fetch a page
query_database|query a table;select rows;get records
insert_record|insert a row;add a record;store a record
delete_records|delete rows;remove records;delete some records
sort_list|sort numbers;sort a list;put numbers in order
plot_data|draw a chart;plot data;make a chart
predict_price|predict a price;estimate a price;predict what something will cost
generate_password|generate a password;make a password;create a secure password
random_number|pick a random number;give me a random number;roll a random number
hash_text|hash something;hash a text;compute a hash
describe_element|describe an element;tell me about an element;get facts about an element
gene_info|look up a gene;get facts about a gene;find a gene
identify_species|identify an animal;identify a species
simulate_growth|simulate a population;project the growth of a population
balance_equation|balance a reaction;balance an equation
game_score|get the score;~what's the score;check a game score
team_schedule|show the schedule of a team;list the next games;~when do they play
player_stats|show the stats of a player;get player statistics
log_workout|log a workout;record a workout;log my training
league_ranking|show the standings;show a league ranking;get the ranking
sculpture_price|estimate the price of an artwork;value an artwork
music_chord|build a chord;show a chord
museum_hours|get museum opening hours;~when is the museum open
roll_dice|roll dice;throw dice;roll some dice
start_game|start a game;launch a game;open a game
trivia_question|ask me a trivia question;quiz me;give me trivia
convert_units|convert kitchen units;convert cups;convert an amount in cups
substitute_ingredient|find a substitute;replace an ingredient;substitute an ingredient
nutrition_facts|get nutrition facts;look up calories of a dish;show me nutrition facts
add_to_cart|add something to my cart;put an item in the basket;add a product to the cart
track_order|track an order;~where is my order;track my order
return_item|return something;return an item;send an item back
log_meal|log a meal;record a meal;log my lunch
medication_reminder|set a pill reminder;remind me of my medicine;set a medicine reminder
check_symptoms|check my symptoms;check symptoms
drug_interaction|check a drug interaction;check whether two medicines go together
clock_in|clock someone in;start a shift;clock in
file_expense|submit an expense;file an expense;claim an expense
request_leave|request leave;take time off;book vacation;request days off
hire_employee|hire someone;onboard a new person;hire a new employee
schedule_interview|schedule an interview;plan an interview;set up an interview
file_lawsuit|file a lawsuit;sue a company;sue someone
draft_contract|draft a contract;write up an agreement;prepare a contract
explain_topic|explain something;explain a subject to me;teach me something
grade_exam|grade an exam;mark a test;grade a test
read_meter|submit a meter reading;send in a meter reading
charge_car|charge the car;start charging the car
water_plants|water the plants;start watering;water some plants
soil_test|test the soil;analyze some soil
start_machine|start a machine;run a machine;power on a machine
stop_machine|stop a machine;halt a machine;stop one of the machines
reorder_stock|reorder stock;restock something;order more stock
shipping_cost|estimate the shipping;get a shipping quote;~what does shipping cost
schedule_pickup|schedule a pickup;arrange a pickup;have a parcel collected
`;

const bare = new Map(
  ACTIONS.trim()
    .split("\n")
    .map((line) => line.split("|"))
    .map(([name, heads]) => [name, heads.split(";")]),
);

/** Of verbs whose own beginnings say too little when what follows them is missing. */
const VERBS = {
  create:
    "create {a};add {a};set up {a};register {a};make {a};I want to create {a};create a new {o};~new {o}",
  book: "book {a};order {a};request {a};reserve {a};get me {a};arrange {a};I'd like {a};I need {a};~{a} please",
  send: "send {o} {id};share the {o} {id};forward {o} {id}",
  export: "export {o} {id};download {o} {id}",
  assign: "assign {o} {id};delegate the {o} {id}",
  reschedule: "reschedule {o} {id};postpone {o} {id};push back the {o} {id};move {o} {id} to another day",
  rate: "rate the {o} {id};review {o} {id};leave a rating for {o} {id}",
  set_priority: "set the priority of {o} {id};change the priority of {o} {id};prioritize {o} {id}",
  get: "show me the {o} {id};get {o} {id};pull up {o} {id};look up {o} {id};display {o} {id};~details of {o} {id}",
  update: "update {o} {id};change the {o} {id};edit {o} {id};modify {o} {id}",
  compare: "compare {os};compare some {os};contrast {os}",
};

const LOOKUPS =
  "~what is the {t};~what's the {t};tell me the {t};get the {t};look up the {t};I want to know the {t};check the {t};give me the {t};show me the {t};find the {t};~{t}".split(
    ";",
  );

/**
 * Beginnings of a family that hold no argument but perhaps {id}: for things with {o}, {a}, {os} in them, for lookups {t}.
 * Undefined: its own will do.
 */
export function bareHeads(family) {
  const { action, more } = family;
  if (family.kind === "action" && more) {
    const own = action.heads.filter((head) => !/[{]/.test(head));
    // Words of the name are an order, too: "run wash".
    return own.some((head) => !head.startsWith("~")) ? own : [...own, action.names[0].replace(/[_.]/g, " ")];
  }
  if (family.kind === "action") return bare.get(action.names[0]);
  if (family.kind === "lookup") return LOOKUPS;
  if (family.kind === "thing") return VERBS[family.verb.names.split(" ")[0]]?.split(";");
  return undefined;
}
