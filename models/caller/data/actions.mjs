// Functions of their own kind. A line: field | names | beginnings of sentences (";", "~" before a note or question) |
// descriptions | roles, "!" for required. "{role}" in a beginning stands for what the sentence says of it.

const TABLE = `
home|set_temperature thermostat.set set_thermostat heat_room|set the temperature;make it;heat the house;turn the heating;~temperature|Set the temperature of a room;Controls the heating|temperature! room
home|turn_on switch_on lights.on power_on|turn on the {device};switch the {device} on;start the {device};power up the {device};~{device} on|Turn a device on;Switches something on|device! room percent
home|turn_off switch_off lights.off power_off|turn off the {device};switch the {device} off;shut down the {device};kill the {device};~{device} off please|Turn a device off;Switches something off|device! room
home|dim_lights set_brightness lights.dim|dim the lights;set the lights;make the lights;~lights|Set the brightness of lights|percent! room
home|set_light_color lights.color change_color|make the lights {color};change the lights to {color};turn the lamp {color};~{color} light|Change the color of the lights|color! room
home|lock_door doors.lock secure_door|lock the door;lock up;bolt the door;~door locked?|Lock a door|room!
home|open_blinds raise_blinds blinds.set|open the blinds;raise the shutters;~blinds|Move the blinds|room! percent
home|start_vacuum vacuum.start clean_room|vacuum;clean the floor;start the vacuum robot;let the robot clean|Start the vacuum robot|room! minutes
media|play_music music.play play_song stream_track spotify.play|play {title};put on {title};I want to hear {title};start {title};~some {title} now|Play a song;Plays music|title! artist volume
media|play_artist music.play_artist stream_artist|play something;play music;put on some music;I'd like to hear something;~music|Play music of an artist|artist! minutes genre
media|play_genre play_radio radio.start|play {genre};put on some {genre};give me {genre} music;~{genre} please|Play music of a genre|genre! minutes volume
media|set_volume volume.set change_volume|set the volume;turn the volume;change the sound;~volume|Set the loudness|volume! device
media|pause_playback pause stop_music|pause the music;stop playing;hold the music;~pause;silence please;stop the song|Pause what is playing|device
media|next_track skip_song skip player.next|skip this song;next song;play the next track;~I don't like this one, next|Skip to the next track|device
media|watch_movie play_film video.play stream_movie|play the movie {title};watch {title};start the film {title};put {title} on the TV|Play a movie|title! language device
media|recommend_movies movies.recommend suggest_films|recommend a movie;suggest a film;~what should we watch;find me a good movie|Recommend movies|genre! year director min_rating
media|recommend_books books.suggest suggest_reading|recommend a book;suggest something to read;~what should I read next|Recommend books|topic! language author pages
media|movie_showtimes cinema.showtimes get_showtimes|~when does {title} run;show times of {title};~when is {title} on|Show times of a movie|title! city! date
weather|get_weather weather.forecast weather_today current_weather|~what's the weather like;~how is the weather;show the forecast;~will it rain;~weather;~do I need an umbrella|Weather forecast for a place;Current weather|city! date temp_unit
weather|weather_by_coordinates forecast_at weather.at_position|~what's the weather;get the forecast|Weather at a position|coordinates! date
weather|air_quality pollution.index get_aqi|~how clean is the air;~what is the air quality;check the pollution|Air quality of a city|city! date
weather|snow_report ski.conditions snow_depth|~how much snow is there;get the snow report;~is there snow|Snow report of a region|region! date
time|set_timer timer.start create_timer countdown|set a timer;start a countdown;~timer;wake me;count down|Start a timer|minutes! name
time|set_alarm alarm.set create_alarm wake_up|wake me up;set an alarm;set the alarm clock;~alarm;get me out of bed|Set an alarm|time! weekday repeat
time|local_time clock.now get_time world_clock|~what time is it;~current time;tell me the time|Current time in a city|city!
time|convert_time_zone time.convert|convert {time};~what is {time}|Convert a time between cities|time! origin! destination!
time|days_between date_diff count_days|~how many days are there;count the days;~days|Number of days between two dates|start_date! end_date!
time|add_reminder reminders.add remind_me|remind me {task};don't let me forget {task};~reminder {task};set a reminder {task}|Remind of something|task! date time
time|check_calendar calendar.view get_agenda|~what's on my calendar;~am I free;show my schedule;~what do I have planned|Show the calendar|date! person
messaging|send_message messages.send text_contact send_sms|send a message;text;write a message;message|Send a message to a contact|recipient! message! channel
messaging|make_call phone.dial call_contact start_call|call {recipient};ring {recipient};phone {recipient};get {recipient} on the line;~{recipient} please|Call a contact|recipient! device
messaging|send_email mail.compose compose_email|send an email;write an email;email|Send an email|email! subject! message
messaging|translate_text translate languages.translate|translate {message};~how do you say {message};put {message}|Translate text|message! language! source_language
messaging|summarize_text summarize text.summary|summarize the file {file};give me the gist of {file};~what is {file} about|Summarize a file|file! language limit
messaging|post_update social.post publish_post tweet|post {message};publish {message};share {message} with everyone|Publish a post|message! channel private
messaging|check_spelling spell_check text.correct|check the spelling of {message};correct {message}|Check the spelling of a text|message! language
search|web_search search.web google internet.search|search the web;look online;google;find information|Search the web|query! limit language
search|find_restaurants restaurants.search nearby_restaurants|find a restaurant;~where can I eat;show restaurants;look for a place to eat|Find restaurants|city! cuisine budget min_rating
search|find_flights flights.search search_flights|find flights;search flights;~are there flights;show me flights|Find flights|origin! destination! date! seat budget
search|find_hotels hotels.search search_hotels|find a hotel;search hotels;~where can I stay;look for a room|Find hotels|city! start_date nights people budget
search|find_jobs jobs.search search_vacancies|find jobs;look for work;search vacancies|Find jobs|query! city salary
search|find_recipes recipes.search search_recipes cook.find|find a recipe;~what can I cook;look for recipes|Find recipes|ingredients! diet minutes calories
search|find_events events.search whats_on|~what's on;find events;~anything going on|Find events|city! date topic
search|news_search news.latest get_headlines|show me the news;get headlines;~what's new;find articles|Latest news|topic! date limit
search|find_houses real_estate.search property_search|find houses;search for a home;look for apartments|Find properties|city! range people
search|find_doctor doctors.search find_specialist|find a doctor;look for a specialist;~who can help me|Find doctors|disease! city!
search|find_lawyer lawyers.search lawyer.find_nearby|find a lawyer;look for an attorney;get me legal help|Find lawyers|law_topic! city! budget
search|court_case_search law_case.search legal.find_cases|find court cases;search for cases;look up lawsuits|Search court cases|company! year court
search|nearby_places places.nearby find_nearby|find places;~what is nearby;show spots|Find places around an address|place! distance min_rating
search|product_search shop.search find_products|find {product};search for {product};~do you sell {product};look for {product}|Search products|product! budget color sort
search|paper_search library.search_articles find_papers|find papers;search articles;look for studies|Search scientific papers|topic! author year limit
maps|get_directions directions route.plan navigate|get directions;~how do I get there;plan a route;navigate;~route;drive me|Directions between places|origin! destination! mode
maps|distance_between geo.distance calculate_distance|~how far is it;~what is the distance;measure the distance|Distance between cities|origin! destination! unit
maps|traffic_info traffic.check get_traffic|check the traffic;~is there a jam;~how is the traffic|Traffic in a city|city! time
maps|find_parking parking.search|find parking;look for a parking space;~where can I park|Find parking|place! hours
maps|order_taxi taxi.order request_ride call_cab|get me a taxi;order a cab;call a car;I need a ride|Order a taxi|street! destination time people
maps|geocode address_to_coordinates geo.lookup|~what are the coordinates;locate the address;find the position|Coordinates of an address|street!
money|convert_currency currency.convert exchange money.exchange|convert {amount};exchange {amount};change {amount};~how much is {amount}|Convert an amount of money|amount! from_currency! to_currency!
money|transfer_money bank.transfer send_money wire|transfer {amount};send {amount};wire {amount};move {amount}|Transfer money between accounts|amount! account! to_account! date
money|pay_bill bills.pay settle_bill|pay the bill;settle the bill;pay {amount}|Pay a bill|company! amount! date
money|buy_stock stocks.buy purchase_shares|buy {shares};purchase {shares};get me {shares}|Buy shares|shares! ticker! price
money|sell_stock stocks.sell sell_shares|sell {shares};get rid of {shares};dump {shares}|Sell shares|shares! ticker! price
money|stock_history stocks.history price_history|show the price history;~how did the stock do;get past prices|Past prices of a stock|ticker! days period
money|check_balance bank.balance account_balance|~what's my balance;check the balance;~how much money is left|Balance of an account|account! currency
money|split_bill bill.split divide_check|split the bill;divide the check;share the cost|Split a bill|amount! people! 
money|set_budget budgets.set limit_spending|set a budget;limit my spending|Set a monthly budget|amount! month
files|delete_file files.delete rm remove_file|delete {file};remove {file};trash {file};erase {file}|Delete a file|file! folder
files|move_file files.move mv relocate_file|move {file};put {file};relocate {file}|Move a file|file! folder! overwrite
files|copy_file files.copy cp|copy {file};duplicate {file}|Copy a file|file! folder! overwrite
files|rename_file files.rename|rename {file};change the name of {file}|Rename a file|file! new_name!
files|create_folder mkdir folders.create new_directory|make a folder;create a directory;new folder|Create a folder|name! folder
files|list_files ls dir files.list|list the files;~what is in the folder;show all files|List files|folder! recursive sort
files|find_files files.search grep|find files;search for files;look for documents|Search files|query! folder format
files|compress_files zip files.archive|zip {files};compress {files};pack {files}|Compress files|files! name!
files|convert_file files.convert change_format|convert {file};turn {file};export {file}|Convert a file|file! format!
files|run_script execute scripts.run|run {file};execute {file};start {file}|Run a script|file! folder
files|download_file download fetch_url wget|download the file;fetch the page;get the file|Download from the web|url! folder
data|query_database db.select sql.query|query the table;select rows;get records|Read rows of a table|word_table! limit sort
data|insert_record db.insert add_row|insert a row;add a record;store a record|Insert a row|word_table! name! 
data|delete_records db.delete drop_rows|delete rows;remove records|Delete rows of a table|word_table! status!
data|sort_list list.sort order_values array.sort|sort the numbers {numbers};put {numbers} in order;sort {numbers}|Sort numbers|numbers! order_dir
data|plot_data chart.draw make_chart|plot {decimals};draw a chart of {decimals};visualize {decimals}|Draw a chart|decimals! title color
data|predict_price model.predict estimate_value|predict the price;estimate the value|Predict the price of a product|product! year
data|generate_password password.create random_password|generate a password;make a secure password;~new password|Generate a password|length_int!
data|random_number random.int roll|pick a random number;roll a number;~random number|Random number|min_int! max_int!
data|hash_text crypto.hash|hash {message};compute the digest of {message}|Hash a text|message! algorithm
science|describe_element chemistry.element element_info|tell me about {chemical};~what is {chemical};describe {chemical}|Facts about an element|chemical! detailed
science|gene_info genetics.lookup dna.sequence|look up gene {code_gene};find gene {code_gene};~what does gene {code_gene} do|Facts about a gene|code_gene! animal
science|identify_species nature.identify species_lookup|identify the animal;~what kind of animal is it|Identify a species|color! region! size
science|simulate_growth ecology.simulate project_population|simulate the population;project the growth|Simulate a population|animal! years! rate
science|balance_equation chemistry.balance|balance the reaction of {chemical};balance {chemical}|Balance a reaction|chemical! chemical2!
sports|game_score sports.score live_score|~what's the score;~who is winning;get the result|Score of a game|team! opponent date
sports|team_schedule sports.schedule next_games|~when do they play;show the schedule;list upcoming games|Schedule of a team|team! limit
sports|player_stats sports.player_stats get_statistics|~how did the player do;get statistics;show the stats|Statistics of a player|person! team year
sports|log_workout fitness.log track_exercise|log my workout;record the training;I worked out|Record a workout|minutes! calories level
sports|league_ranking sports.ranking standings|~what is the ranking;show the standings|Ranking of a league|league! year
art|sculpture_price art.price value_artwork|~what is it worth;estimate the price of {title};~how much does {title} cost|Price of an artwork|title! artist year
art|music_chord theory.chord build_chord|build a chord;~which notes are in the chord;show the chord|Notes of a chord|word_note! order_dir
art|museum_hours museum.opening_times visiting_hours|~when is the museum open;get the opening hours|Opening hours of a museum|place! date
games|roll_dice dice.roll throw_dice|roll the dice;throw {dice} dice;roll {dice}|Roll dice|dice! sides
games|start_game games.start launch_game|start {title};launch {title};let's play {title}|Start a game|title! level
games|trivia_question quiz.ask ask_trivia|ask me a question;give me trivia;quiz me|Ask a trivia question|topic! level
cooking|convert_units units.convert cooking.convert|convert {cups};~how much is {cups}|Convert kitchen units|cups! kitchen_unit!
cooking|substitute_ingredient kitchen.substitute replace_ingredient|~what can I use instead of {ingredient};replace {ingredient};substitute {ingredient}|Find a substitute|ingredient! diet
cooking|nutrition_facts food.nutrition get_calories|~how many calories are in {food};nutrition of {food};~is {food} healthy|Nutrition of a dish|food! weight
shopping|add_to_cart cart.add basket.put|add {product} to my cart;put {product} in the basket;I'll take {product}|Put a product into the cart|product! quantity size color
shopping|track_order orders.track order_status|track my order;~where is my order;~what happened with my order|Status of an order|order! email
shopping|return_item returns.create send_back|return the {product};send back the {product};I don't want the {product}|Return a product|product! order! reason
health|log_meal nutrition.log record_food|log my meal;I ate {food};record {food}|Record a meal|food! calories time
health|medication_reminder meds.remind pill_reminder|remind me to take {medicine};~{medicine} reminder|Remind of medicine|medicine! time! dose
health|check_symptoms symptoms.check diagnose|~what could it be;check my symptoms;I suffer|Check symptoms|disease! days age
health|drug_interaction meds.interaction|~can I take {medicine} together;check {medicine}|Check an interaction of medicines|medicine! medicine2!
work|clock_in attendance.in start_shift|clock me in;start my shift;I'm at work|Start working time|employee! time
work|file_expense expenses.submit claim_expense|submit an expense;claim costs;file an expense|Submit an expense|amount! date note
work|request_leave leave.request take_vacation|request leave;I want to take time off;book my vacation|Request days off|start_date! end_date! reason
work|hire_employee hr.hire onboard|hire {person};onboard {person};give {person} a contract|Hire a person|person! role! salary
work|schedule_interview hr.interview plan_interview|schedule an interview;plan the interview|Schedule an interview|person! date! time
law|file_lawsuit law.file sue|sue the company;file a lawsuit;take them to court|File a lawsuit|company! law_topic! amount
law|draft_contract contracts.draft write_contract|draft a contract;write up an agreement|Draft a contract|company! law_topic years
education|explain_topic learn.explain teach_me|explain;teach me;help me understand|Explain a subject|school_subject! level
education|grade_exam exams.grade mark_test|grade the exam;mark the test|Grade an exam|student! score! school_subject
energy|read_meter meter.submit submit_reading|submit my meter reading;send in the reading;~the meter says|Submit a meter reading|reading! date
energy|charge_car ev.charge start_charging|charge the car;start charging;plug in the car|Charge the car|percent! time
farming|water_plants irrigation.start irrigate|water the {plant};start watering the {plant}|Water plants|plant! minutes
farming|soil_test soil.analyze|test the soil;analyze the ground|Analyze soil|place! plant
industry|start_machine machines.start run_machine|start machine {machine};run {machine};power on {machine}|Start a machine|machine! speed
industry|stop_machine machines.stop halt|stop machine {machine};halt {machine};emergency stop {machine}|Stop a machine|machine! reason
industry|reorder_stock inventory.reorder restock|reorder {product};restock {product};buy more {product}|Order more stock|product! quantity! supplier
logistics|shipping_cost shipping.quote estimate_shipping|~what does shipping cost;estimate the shipping;~how much is it to send a parcel|Cost of shipping|origin! destination! weight! insured
logistics|schedule_pickup pickup.schedule collect_parcel|schedule a pickup;have the parcel collected|Schedule a pickup|street! date! time
`;

/** Roles that only these functions have: as in roles.mjs. */
const OWN_ROLES = {
  word_table: "table table_name collection|word|from the table {};in table {};of {}|Name of the table",
  length_int:
    "length num_characters size|int 6 64|with {} characters;of length {};{} characters long|Number of characters",
  min_int: "min low lower_bound|int 0 50|from {};between {}|Lowest value",
  max_int: "max high upper_bound|int 51 999|to {};and {}|Highest value",
  algorithm: "algorithm method|sha256,md5,sha1|with {};using {}|Algorithm",
  code_gene: "gene gene_name symbol|code|{}|Name of the gene",
  chemical2: "second_substance reactant partner|chemical|with {};and {}|The other substance",
  medicine2: "other_drug second_medicine with|medicine|with {};and {}|The other medicine",
  word_note: "root note key|C,D,E,F,G,A,B|on {};of {};in {}|Root note",
  dice: "num_dice count|int 1 9|{}|How many dice",
  sides: "sides num_sides|int 4 20|with {} sides|Sides of a die",
  cups: "amount quantity value|num 0.5 9|{} cups|How many cups",
  kitchen_unit:
    "unit target_unit to|grams,milliliters=ml,ounces=oz,tablespoons|to {};into {};in {}|Unit wanted",
  reading: "reading value meter_value|int 100 99999|of {};{}|What the meter says",
};
export const ownRoles = Object.entries(OWN_ROLES).map(([key, text]) => `${key}|${text}`);

/** An action of a line. */
export function actionOf(line) {
  const [domain, names, heads, descriptions, roles] = line.split("|");
  return {
    domain,
    names: names.split(" "),
    heads: heads.split(";"),
    descriptions: descriptions.split(";"),
    roles: roles
      .trim()
      .split(" ")
      .map((role) => ({ key: role.replace("!", ""), required: role.endsWith("!") })),
  };
}

export const ACTIONS = TABLE.trim().split("\n").map(actionOf);
