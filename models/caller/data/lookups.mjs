// Functions that look something up: attributes of an entity. Field: kind of entity and its names | attributes ("=" other words).

export const LOOKUPS = Object.entries({
  geography: [
    `country country country_name nation`,
    `population=number of inhabitants;capital=capital city;area=surface area;official language=language;currency;president=head of state;national anthem=anthem;time zone;highest mountain=tallest peak;gdp=gross domestic product;neighbors=bordering countries;flag colors=flag;climate;life expectancy;independence date`,
  ],
  cities: [
    `city city town location`,
    `weather=forecast;temperature;population=number of inhabitants;mayor;elevation=altitude;air quality=air pollution;local time=time;tourist attractions=sights;public holidays;museum opening hours=museums;restaurants=places to eat;crime rate;house prices=property prices;traffic situation=traffic;sunrise time=sunrise;hotels;nearest airport=airport`,
  ],
  sports: [
    `team team team_name club`,
    `next match=next game;coach=trainer;standings=rank,position;top scorer;stadium=home ground;roster=squad,players;last result=latest score;win record;captain;founding year;ticket prices`,
  ],
  athletes: [
    `person player player_name athlete name`,
    `salary=pay;height;career goals=goals;statistics=stats;age;current team=team;injury status=injuries;number of titles=titles;world ranking=ranking;season average=average`,
  ],
  people: [
    `person person name full_name`,
    `date of birth=birthday;biography=life story;net worth=wealth;profession=job;nationality;spouse=husband or wife;awards=prizes;publications=papers;death date;famous works=best known works;education=schooling`,
  ],
  music: [
    `artist artist performer band`,
    `discography=albums;most popular song=biggest hit;tour dates=upcoming concerts;genre;band members=members;latest album=newest record;followers;record label;awards=prizes`,
  ],
  works: [
    `title title name work`,
    `author=writer;release year=year of release;rating=score;plot summary=plot,story;director;cast=actors;running time=length;page count=number of pages;sequel;reviews;publisher;genre;box office=ticket sales`,
  ],
  companies: [
    `company company company_name firm`,
    `stock price=share price;chief executive=boss,CEO;headquarters=head office;number of employees=headcount;revenue=sales;founder;market value=market cap;dividend;competitors;credit rating;annual report;industry;opening hours`,
  ],
  stocks: [
    `ticker symbol ticker stock`,
    `price=quote,current price;trading volume=volume;dividend yield=yield;price history=history;analyst rating=rating;market cap=market value;earnings date=earnings`,
  ],
  chemistry: [
    `chemical substance compound element chemical`,
    `boiling point;melting point=temperature of melting;density;molecular weight=molar mass;formula=chemical formula;safety data=hazards;solubility;atomic number;color;price per kilogram=price`,
  ],
  animals: [
    `animal animal species animal_name`,
    `lifespan=how long it lives;habitat=where it lives;diet=food;top speed=maximum speed;conservation status=protection status;scientific name=Latin name;weight;gestation period;population`,
  ],
  plants: [
    `plant plant species crop`,
    `watering schedule=how often to water;sunlight need=light;planting season=when to plant;soil type=soil;hardiness zone;harvest time=when to harvest;pests=diseases;height;germination time`,
  ],
  food: [
    `food dish food_item meal`,
    `calories=energy;nutrition facts=nutrients;recipe=how to cook it;cooking time;origin=where it comes from;ingredients;allergens;price;protein content=protein;shelf life=how long it keeps`,
  ],
  health: [
    `disease condition disease illness`,
    `symptoms=signs;treatment=therapy;causes=reasons;incubation period;specialists=doctors;prevention=how to avoid it;number of cases=cases;risk factors;guidelines`,
  ],
  medicine: [
    `medicine drug medication medicine`,
    `side effects=adverse effects;recommended dose=dose;price=cost;interactions;ingredients;alternatives=generics;expiry=shelf life;availability=stock`,
  ],
  law: [
    `code case_number case_id docket`,
    `verdict=ruling,outcome;judge;plaintiff=claimant;hearing date;status=state of affairs;summary;lawyers=attorneys;related cases;damages=compensation;appeal deadline`,
  ],
  laws: [
    `topic law topic statute`,
    `penalty=punishment;regulations=rules;exemptions=exceptions;history=origin;deadline=time limit;precedents;competent court=court;legal definition=definition`,
  ],
  logistics: [
    `code tracking_number shipment_id parcel`,
    `status=where it is;delivery date=arrival;weight;sender;shipping cost=cost;carrier;customs status=customs;contents`,
  ],
  flights: [
    `code flight_number flight flight_no`,
    `departure time=when it leaves;gate;arrival time=when it lands;delay;aircraft type=plane;baggage allowance=luggage;seat map;status`,
  ],
  shop: [
    `product product item product_name`,
    `price=cost;availability=stock;reviews=opinions;warranty=guarantee;dimensions=size;delivery time=shipping time;color options=colors;manufacturer=maker;discount;manual=instructions`,
  ],
  devices: [
    `noun device device_name gadget`,
    `battery level=battery;firmware version=software version;power consumption=energy use;serial number;temperature;uptime;error log=errors;location;signal strength=signal`,
  ],
  school: [
    `subject subject course topic`,
    `syllabus=contents;exam date=date of the exam;teacher;textbooks=books;prerequisites=requirements;schedule=class times;homework;pass rate;credits`,
  ],
  events: [
    `topic event topic event_name`,
    `date=when it happened;location=where it happened;participants=who took part;causes=reasons;outcome=result;number of victims=casualties;timeline=course of events;news=latest news;key figures`,
  ],
  languages: [
    `language language lang`,
    `number of speakers=speakers;alphabet=script;word for hello=greeting;grammar rules=grammar;language family;difficulty;countries=where it is spoken;courses`,
  ],
  finance: [
    `currency currency currency_code`,
    `exchange rate=rate;inflation rate=inflation;central bank;history;symbol=sign;forecast=outlook;key interest rate`,
  ],
  materials: [
    `material material material_name`,
    `density;thermal conductivity=heat conduction;price per ton=price;hardness;tensile strength=strength;recycling rate;melting temperature;suppliers;fire rating`,
  ],
  files: [
    `file file_name path file`,
    `size=how large it is;owner=who owns it;last change=date of change;checksum=hash;word count=number of words;permissions=rights;version history=versions;page count`,
  ],
  users: [
    `username username user account handle`,
    `last login=last seen;followers;role=rights;email address=email;posts;score=points;subscription plan=plan;open tickets=requests;storage used=storage`,
  ],
}).flatMap(([domain, [entity, attributes]]) => {
  const [kind, ...names] = entity.split(" ");
  return lookupsOf(domain, kind, names, attributes);
});

/** What can be looked up of an entity. */
export function lookupsOf(domain, kind, names, attributes) {
  return attributes.split(";").map((text) => {
    const [attribute, others] = text.split("=");
    return { domain, kind, names, attribute, others: [attribute, ...(others?.split(",") ?? [])] };
  });
}
