// Roles of arguments: how an argument is called, what it holds, how a sentence brings it in, how a schema describes it.
// A line: key | names | kind | phrases, with {} for the value | descriptions. Kinds are those of kinds.mjs, or
// "a,b=synonym" for an enum, "int 1 9", "num 0 5", "of kg,kilograms 1 90" for quantities, "flag" for yes and no.

import { ownRoles } from "./actions.mjs";
import { options } from "./kinds.mjs";
import { int, num, quantity } from "./numbers.mjs";

const TABLE = `
city|city town location|city|in {};in {};at {}|Name of the city;The town;Where
place|place location where address spot|place|in {};at {};near {}|Where it is;Name of the place;Location
country|country nation country_name|country|in {};of {}|Name of the country;The country
region|region state province area|region|in {};in the {} region|State or province;The region
origin|origin from from_city departure departure_city start|city|from {};leaving {};starting in {}|Where the trip starts;City of departure
destination|destination to to_city arrival arrival_city|city|to {};going to {};arriving in {}|Where the trip ends;City of arrival
street|address street delivery_address|street|at {};to {};for {}|Street and number;The address
room|room area location zone|room|in the {};for the {};of the {}|Which room;Name of the room
person|person name who full_name|person|for {};of {}|Name of the person;Full name;Who
customer|customer client customer_name buyer|person|for {};for the customer {};on behalf of {}|Name of the customer;The client
patient|patient patient_name|person|for {};for the patient {}|Name of the patient
student|student student_name pupil|person|for {};for the student {}|Name of the student
employee|employee employee_name worker staff_member|person|for {};for employee {}|Name of the employee
doctor|doctor physician specialist|person|with {};with doctor {}|Name of the doctor
assignee|assignee owner assigned_to responsible|person|to {};and assign it to {};assigned to {}|Who is responsible;Person in charge
author|author writer by|person|by {};written by {}|Name of the author
director|director film_director|person|by {};directed by {}|Who directed it
artist|artist performer band artist_name|artist|by {};from {}|Name of the artist;Band or singer
recipient|recipient to receiver contact|first|to {};for {}|Who receives it;Name of the contact
sender|sender from from_person|first|from {}|Who sent it
recipients|recipients to attendees|names|to {};with {}|Who receives it;Names of all people
attendees|attendees participants invitees guests|names|with {};and invite {}|People who take part
email|email email_address mail|email|at {};with email {};under {}|Email address
emails|emails email_addresses recipients|emails|to {}|Email addresses
phone|phone phone_number mobile|phone|at {};with phone number {};on {}|Phone number
username|username user user_id handle account|username|for user {};of {};for {}|Name of the user;Account name
company|company company_name firm organization business|company|for {};from {};of {}|Name of the company
supplier|supplier vendor manufacturer|company|from {};from supplier {}|Name of the supplier
brand|brand make manufacturer|company|from {};by {};made by {}|The brand
product|product item product_name article|product|of {};for the {};{}|Name of the product;The item
products|products items product_names|products|with {};containing {};for {}|The items
sku|sku product_id item_code article_number|code|with sku {};for item {};number {}|Number of the article
order|order_id order_number order|code|for order {};of order {};on order {}|Number of the order
id|id identifier reference ref number|code|with id {};number {};reference {}|Unique identifier;Reference number
tracking|tracking_number tracking_id tracking_code|code|with tracking number {};{}|Tracking number
account|account account_id account_number|code|for account {};from account {};on account {}|Number of the account
to_account|to_account target_account recipient_account|code|to account {};into account {}|Account that receives the money
plate|plate license_plate registration|code|with plate {};with registration {}|Registration of the vehicle
flight|flight flight_number flight_no|code|for flight {};on flight {};of flight {}|Number of the flight
date|date day on_date|date|on {};for {};{}|The date;Day;Date of it
start_date|start_date from_date check_in begin|date|from {};starting {}|First day;Start date
end_date|end_date until to_date check_out|date|until {};to {};through {}|Last day;End date
due|due_date due deadline|date|due {};by {};with the deadline {}|When it is due;Deadline
time|time at start_time hour|time|at {};at {};for {}|Time of day;When it starts
end_time|end_time until to_time|time|until {};till {}|When it ends
weekday|day weekday day_of_week|weekday|on {};every {}|Day of the week
month|month billing_month|month|for {};in {}|Name of the month
year|year in_year season|year|in {};from {};for {}|The year
minutes|duration minutes duration_minutes length|minutes|for {};lasting {};of {}|How long
hours|hours duration duration_hours|hours|for {};over {}|How long
days|days num_days duration_days|days|for {};over {}|Number of days
nights|nights num_nights|int 1 14|for {} nights;staying {} nights|Number of nights
people|people guests party_size num_people number_of_guests|int 1 14|for {} people;for {};for a party of {}|How many people
adults|adults num_adults passengers|int 1 9|for {} adults;with {} passengers|Number of adults
quantity|quantity amount count number_of_items units|count|{} of them;quantity {};{} pieces|How many
copies|copies num_copies count|int 1 40|{} copies;in {} copies|Number of copies
limit|limit max_results top_n num_results n|int 1 50|limit {};only {};at most {};top {}|How many results;Maximum number of results
pages|pages page_count num_pages|int 1 400|with {} pages;{} pages|Number of pages
price|price unit_price cost|money|for {};at {};costing {}|The price
amount|amount sum value total|money|of {};for {};over {}|Amount of money
budget|budget max_price max_budget price_limit|money|under {};for less than {};with a budget of {};up to {}|Highest price
salary|salary annual_salary pay|int 20000 200000|with a salary of {};at {} a year|Yearly salary
discount|discount discount_percent reduction|percent|with {} off;with a discount of {}|Discount
rate|rate interest_rate annual_rate|percent|at {};at a rate of {};with an interest rate of {}|Yearly rate
years|years term num_years period|int 1 40|over {} years;for {} years|Number of years
currency|currency currency_code|currency|in {};paid in {}|Currency
from_currency|from_currency source_currency base|currency|from {}|Currency to convert from
to_currency|to_currency target_currency quote|currency|to {};into {}|Currency to convert to
title|title name book_title work|title|called {};titled {};{}|The title;Name of the work
name|name label title display_name|made|called {};named {};with the name {}|Its name;Name for it
new_name|new_name rename_to target_name|word|to {};as {}|The new name
subject|subject title headline|topic|about {};with the subject {};on {}|What it is about
topic|topic theme subject keyword|topic|about {};on {};on the topic of {}|The topic
topics|topics keywords tags|topics|about {};on {};tagged {}|Topics
query|query search_query q keywords term|query|for {};{}|What to search for
message|message text body content|message|saying {};that says {};with the text {}|Text of the message
note|note comment remark description|message|with the note {};with the comment {};noting {}|A remark
task|task title description todo|task|to {};{}|What is to be done
reason|reason cause justification|delay,damage,illness=sickness,weather=bad weather,mistake=an error,other=other reasons|because of {};reason: {}|Why
genre|genre style music_genre category|genre|in the {} genre;of the genre {};{}|The genre
language|language lang target_language|language|in {};into {}|The language
source_language|source_language from_language|language|from {}|Language of the text
food|dish food meal recipe|food|for {};with {};of {}|Name of the dish
ingredients|ingredients items ingredient_list|ingredients|with {};using {};from {}|What goes in
ingredient|ingredient item excluded|ingredient|with {};containing {}|An ingredient
diet|diet dietary_restriction dietary|vegetarian=meatless,vegan=plant based,gluten_free,keto=low carb,halal,kosher|that is {};for a {} diet|Kind of diet
cuisine|cuisine food_type kitchen|Italian,Mexican,Thai,Indian,Greek,French,Japanese,Chinese,Turkish|with {} food;serving {} food|Kind of food
animal|animal pet species|animal|for a {};for my {};of the {}|Kind of animal
plant|plant crop species|plant|for {};of {}|The plant
chemical|substance chemical compound element|chemical|of {};for {}|Name of the substance
material|material surface medium|material|made of {};of {};in {}|The material
disease|condition disease diagnosis illness|disease|with {};for {};because of {}|The illness
medicine|medicine medication drug|medicine|of {};for {};{}|Name of the medicine
dose|dose dosage amount|of mg,milligrams 5 800|at {};{}|Dose
school_subject|subject course class|subject|in {};for {};on {}|The subject
team|team team_name club|team|of {};for {};by the {}|Name of the team
opponent|opponent against other_team|team|against {};versus {}|The other team
league|league competition tournament|premier,national,regional,junior=youth,amateur|in the {} league;of the {} league|The league
file|file filename file_name path|file|{};named {};{}|Name of the file
files|files file_names paths|files|{}|Names of files
folder|folder directory path target_folder|folder|in {};to {};into {}|The folder
format|format output_format file_format type|pdf,csv=comma separated,json,xlsx=excel,html|as {};in {} format;as a {}|Output format
url|url link website address|url|at {};from {};{}|Web address
color|color colour shade|color|in {};to {};colored {}|The color
size|size clothing_size variant|small=little,medium,large=big|in size {};in {}|The size
priority|priority urgency level|low=minor,medium=normal,high=urgent=important|with {} priority;marked {};{} priority|How urgent
status|status state filter_status|open=unfinished,closed=finished,pending=waiting|that are {};with status {};marked as {}|Its state
sort|sort_by order_by sort|date=newest,price=cheapest,rating=best rated,name=alphabetical|sorted by {};ordered by {}|How to sort
order_dir|order sort_order direction|ascending=increasing,descending=decreasing|in {} order;{}|Direction
unit|unit units system|metric,imperial|in {} units|Units
temp_unit|unit temperature_unit scale|celsius,fahrenheit|in {};in degrees {}|Unit of temperature
temperature|temperature target_temperature degrees|of degrees,° 5 35|to {};at {}|Temperature
percent|level percentage value|int 0 100|to {} percent;to {}%;at {}%|Level from 0 to 100
volume|volume level loudness|int 0 100|to {};at volume {};at {}|Loudness
rating|rating score stars|int 1 5|{} stars;with {} stars;a {}|Number of stars
min_rating|min_rating rating minimum_stars|num 1 5|rated at least {};with a rating above {}|Lowest rating
score|score points result|score|of {};with {} points|The score
weight|weight mass weight_kg|of kg,kilos,kilograms 1 90|weighing {};of {}|Weight
distance|distance range max_distance radius|of km,kilometers,kilometres 1 60|within {};of {};over {}|Distance
speed|speed pace velocity|of km/h,kilometers per hour 4 200|at {};with {}|Speed
calories|calories max_calories energy|of calories,kcal 100 2500|under {};with {}|Energy
age|age age_years years_old|int 1 90|aged {};{} years old|Age in years
mode|mode transport travel_mode|driving=car,walking=foot,cycling=bike,transit=bus=train|by {};by {}|Means of transport
seat|class seat_class cabin|economy=cheap,business,first|in {} class;{} class|Class of the seat
level|level difficulty grade|beginner=easy,intermediate=medium,advanced=hard|for {} level;at {} level;{}|Difficulty
period|period interval time_range|daily,weekly,monthly,yearly=annual|{};for the {} period|Time span
repeat|repeat recurrence frequency|never=once,daily=every day,weekly=every week,monthly=every month|{};repeating {}|How often
role|role permission access_level|viewer=read only,editor=read and write,admin=administrator|as {};with the role {}|Rights
channel|channel medium method|email,sms=text message,phone=call,push=app|by {};via {}|How it is sent
payment|payment_method payment pay_with|card=credit card,cash,transfer=bank transfer,paypal|paid by {};with {}|How it is paid
gender|gender sex|male,female|for {}s;{}|Gender
ticker|ticker symbol stock|ticker|of {};for {};{}|Symbol of the stock
shares|shares quantity num_shares|int 1 500|{} shares;{} shares|Number of shares
numbers|numbers values data list|numbers|of {};for {};{}|The numbers
decimals|values data measurements series|decimals|of {};for {};{}|The measured values
coordinates|coordinates position location point|coordinates|at {};for {}|Position
range|range price_range bounds|range|{};in the range {}|Lowest and highest
cities|cities locations stops|cities|for {};in {};through {}|Names of cities
codes|ids numbers references|codes|{};with ids {}|Identifiers
case|case_number case_id docket|code|{};number {}|Number of the case
court|court jurisdiction|supreme,district,appeals=appellate,family|in the {} court;at the {} court|The court
law_topic|area_of_law legal_area field|contract,labor=employment,criminal,tax,family,property=real estate|in {} law;on {} law|Field of law
project|project project_name workspace|made|in project {};for project {};to the {} project|The project
device|device device_name appliance|lamp,heater,fan,thermostat,camera,speaker,television=TV,oven,vacuum|on the {};of the {};for the {}|The device
sensor|sensor sensor_id probe|code|of sensor {};from sensor {}|The sensor
machine|machine machine_id asset equipment|code|for machine {};on machine {}|The machine
batch|batch batch_number lot|code|of batch {};for batch {}|Number of the batch
wifi|include_wifi wifi needs_wifi|flag|with wifi/without wifi|Whether there is wifi
breakfast|breakfast include_breakfast breakfast_included|flag|with breakfast/without breakfast|Whether breakfast is included
urgent|urgent is_urgent express rush|flag|it's urgent;as a rush job/it's not urgent|Whether it is urgent
notify|notify send_notification notify_customer|flag|and notify them;and let them know/without notifying anyone|Whether to send a notice
private|private is_private confidential|flag|make it private;as private/make it public|Whether others cannot see it
recursive|recursive include_subfolders deep|flag|including subfolders;recursively/without subfolders|Whether subfolders count
overwrite|overwrite replace_existing force|flag|overwriting what is there;and overwrite it/without overwriting|Whether to replace
gift|gift_wrap is_gift as_gift|flag|gift wrapped;as a gift/without gift wrap|Whether it is a gift
round_trip|round_trip return_trip return|flag|round trip;and back/one way|Whether the way back is included
direct|direct nonstop direct_only|flag|direct;nonstop/stops are fine|Whether without stops
insured|insured insurance with_insurance|flag|with insurance;insured/without insurance|Whether it is insured
detailed|detailed verbose include_details|flag|with details;in detail/without details|Whether to give details
`;

/** "a b" names; several ways to one thing. */
export const ROLES = new Map(
  [...TABLE.trim().split("\n"), ...ownRoles].map(readRole).map((role) => [role.key, role]),
);

/** A role of a line. */
export function readRole(line) {
  const [key, names, kind, phrases, descriptions] = line.split("|");
  const [yes, no] = kind === "flag" ? phrases.split("/").map((part) => part.split(";")) : [];
  return {
    key,
    names: names.split(" "),
    kind: kind === "flag" ? { yes, no } : readKind(kind),
    phrases: phrases.split(";"),
    descriptions: descriptions.split(";"),
  };
}

/** A kind of the table: a name, or what stands for an enum, a number, a quantity. */
export function readKind(text) {
  const parts = text.split(" ");
  if (parts[0] === "int" && parts.length === 3) return int(Number(parts[1]), Number(parts[2]));
  if (parts[0] === "num" && parts.length === 3) return num(Number(parts[1]), Number(parts[2]));
  if (parts[0] === "of")
    return quantity(parts.slice(1, -2).join(" "), Number(parts.at(-2)), Number(parts.at(-1)));
  return text.includes(",") ? options(text) : text;
}
