// Functions that compute: a result and the quantities it comes from. Quantity: name = other words | kind.

export const QUANTITIES = new Map(
  `mass=weight|of kg,kilograms,kilos 1 500;velocity=speed|of m/s,meters per second 1 300;acceleration|of m/s^2,meters per second squared 1 30
height=altitude|of meters,m,metres 1 200;distance=length|of meters,m,metres 1 900;time=duration|of seconds,s,sec 1 120;force|of newtons,N 1 900
pressure|of pascals,Pa 10 9000;volume|of liters,L,litres 1 400;temperature|of kelvin,K 100 900;charge|of coulombs,C 1 40;current|of amperes,amps,A 1 60
voltage|of volts,V 1 400;resistance|of ohms 1 900;power|of watts,W 1 4000;energy|of joules,J 1 9000;frequency|of hertz,Hz 1 9000;wavelength|of nanometers,nm 1 900
radius|of cm,centimeters 1 90;diameter|of cm,centimeters 1 90;base|int 1 90;width|of meters,m 1 90;length|of meters,m 1 90;depth|of meters,m 1 60;side|int 1 90
angle|of degrees 1 180;density|of kg/m^3 1 9000;area|of square meters,m2 1 900;concentration|of mol/L,molar 1 10;moles|num 0.1 20;molarity|num 0.1 10
principal=initial investment,starting amount|money;annual rate=interest rate,rate|percent;years=term|int 1 40;payment=installment|money;price|money
cost|money;revenue=income|money;expenses=costs|money;tax rate|percent;discount rate|percent;inflation rate|percent;salary|money;hours worked|int 1 80;tip percentage|percent
population|int 1000 9000000;growth rate|percent;births|int 1 9000;deaths|int 1 9000;sample size|int 10 5000;mean|num 1 100;standard deviation|num 0.1 20;probability|num 0 1
successes|int 1 60;trials|int 1 200;x|int -20 60;y|int -20 60;z|int -20 60;a|int -20 60;b|int -20 60;c|int -20 60;n|int 1 60;k|int 1 20;base number|int 2 16;exponent|int 2 12
first number|int 1 900;second number|int 1 900;numerator|int 1 90;denominator|int 1 90;values=numbers,data|numbers;weights|decimals;vector a|vector;vector b|vector
age|int 1 95;weight|of kg,kilograms 30 160;body height|of cm,centimeters 120 210;heart rate|int 50 200;calories|int 100 3000;steps|int 100 30000;dose|of mg,milligrams 1 900
wins|int 0 60;losses|int 0 60;goals|int 0 60;shots|int 1 90;games played|int 1 90;points|int 1 900;attempts|int 1 90;assists|int 0 40;minutes played|int 1 3000
room length|of meters,m 1 40;room width|of meters,m 1 40;wall area|of square meters 1 300;tile size|of cm 5 90;paint coverage|int 1 20;coats|int 1 4
fuel used|of liters,L 1 90;miles driven|int 1 900;distance driven|of km,kilometers 1 1500;consumption|num 1 20;fuel price|num 0.5 3;battery capacity|of kWh 1 100
servings|int 1 20;flour|of grams,g 50 2000;sugar|of grams,g 10 900;people|int 1 60;field size|of hectares,ha 1 90;yield per hectare|num 1 20;rainfall|of mm,millimeters 1 900
half life|num 0.1 90;initial amount|num 1 900;ph|num 0 14;refractive index|num 1 3;focal length|of mm,millimeters 5 400;object distance|of cm 5 900;magnetic field|num 0.1 20
spring constant|num 1 900;friction coefficient|num 0.01 1;efficiency|percent;load|of kg,kilograms 1 9000;units sold|int 1 9000;fixed costs|money;variable cost|money
employees|int 1 900;working days|int 1 30;page count|int 1 900;reading speed|int 50 900;file size|of MB,megabytes 1 9000;bandwidth|of Mbps 1 900;clock speed|num 0.5 6`
    .split(/[;\n]/)
    .map((entry) => {
      const [nouns, kind] = entry.split("|");
      const [name, others] = nouns.split("=");
      return [name, { name, nouns: [name, ...(others?.split(",") ?? [])], kind }];
    }),
);

/** Result: its quantities. "?" marks an optional one. Fields: physics, geometry, ... */
export const FORMULAS = Object.entries({
  physics: `kinetic energy:mass,velocity;potential energy:mass,height;momentum:mass,velocity;free fall time:height;final velocity:velocity,acceleration,time
displacement:velocity,acceleration?,time;centripetal force:mass,velocity,radius;electric field:charge,distance;electrostatic force:charge,distance;ohmic current:voltage,resistance
electrical power:voltage,current;work done:force,distance,angle?;density:mass,volume;gas pressure:moles,temperature,volume;wave speed:frequency,wavelength
photon energy:frequency;buoyant force:density,volume;torque:force,radius,angle?;spring energy:spring constant,distance;refraction angle:angle,refractive index
heat transfer:mass,temperature,time?;pendulum period:length;projectile range:velocity,angle,height?;magnetic force:charge,velocity,magnetic field;sound intensity:power,distance
escape velocity:mass,radius;gravitational force:mass,distance;friction force:mass,friction coefficient;image distance:focal length,object distance;decay:initial amount,half life,years`,
  geometry: `circle area:radius;circle circumference:diameter;triangle area:base,height;rectangle area:length,width;rectangle perimeter:length,width;sphere volume:radius
cylinder volume:radius,height;cone volume:radius,height;box volume:length,width,height;hexagon area:side;square diagonal:side;trapezoid area:a,b,height;arc length:radius,angle
pyramid volume:base,height;cube surface:side;ellipse area:a,b;slope:x,y;midpoint:vector a,vector b;hypotenuse:a,b;regular polygon angle:n`,
  math: `factorial:n;greatest common divisor:first number,second number;least common multiple:first number,second number;power:base number,exponent;binomial coefficient:n,k
prime factors:n;fibonacci number:n;logarithm:x,base number?;square root:x;quadratic roots:a,b,c;dot product:vector a,vector b;cross product:vector a,vector b;modulo:a,b
sum:values;average:values;median:values;standard deviation:values;variance:values;maximum:values;weighted mean:values,weights;sum of squares:x,y,z?;fraction:numerator,denominator
permutations:n,k;linear interpolation:a,b,x;euclidean distance:vector a,vector b;derivative:x,n;percentile:values,k;correlation:values,weights`,
  statistics: `z score:x,mean,standard deviation;binomial probability:successes,trials,probability;confidence interval:mean,standard deviation,sample size;normal density:x,mean,standard deviation
poisson probability:k,mean;sample error:standard deviation,sample size;growth:population,growth rate,years;birth rate:births,population;death rate:deaths,population`,
  finance: `compound interest:principal,annual rate,years;simple interest:principal,annual rate,years;loan payment:principal,annual rate,years;future value:payment,annual rate,years
present value:price,discount rate,years;profit:revenue,expenses;profit margin:revenue,cost;break even point:fixed costs,variable cost,price;return on investment:cost,revenue
sales tax:price,tax rate;income tax:salary,tax rate;tip:price,tip percentage,people?;net salary:salary,tax rate;depreciation:price,years;inflation adjusted value:price,inflation rate,years
hourly wage:salary,hours worked;discounted price:price,discount rate;mortgage:price,annual rate,years,payment?;revenue per employee:revenue,employees`,
  health: `body mass index:weight,body height;calorie need:weight,body height,age;burned calories:weight,steps;target heart rate:age,heart rate?;water need:weight;drug dose:weight,dose
ideal weight:body height;walking distance:steps,body height?;sleep need:age;fat intake:calories`,
  sports: `win rate:wins,losses;goals per game:goals,games played;shooting percentage:goals,shots;points per game:points,games played;running pace:distance driven,time;assist ratio:assists,games played
batting average:successes,attempts;minutes per game:minutes played,games played;league points:wins,losses`,
  home: `paint needed:wall area,paint coverage?,coats?;tiles needed:room length,room width,tile size;room area:room length,room width;flour ratio:flour,servings;sugar per person:sugar,people
heating cost:energy,price;pizza count:people;wallpaper rolls:wall area;scaled recipe:flour,sugar,servings?;moving boxes:room length,room width,people?`,
  transport: `fuel economy:distance driven,fuel used;trip cost:distance driven,consumption,fuel price;travel time:distance driven,velocity;charging time:battery capacity,power;range:battery capacity,consumption
load capacity:volume,density?;delivery cost:distance driven,load;carbon emission:miles driven,consumption?`,
  nature: `crop yield:field size,yield per hectare;irrigation need:field size,rainfall;dilution:concentration,volume,molarity?;reaction heat:moles,temperature;acid strength:ph,concentration
population estimate:population,growth rate,years;solution volume:moles,concentration;water volume:area,rainfall`,
  computing: `download time:file size,bandwidth;reading time:page count,reading speed;storage need:file size,n;working hours:working days,employees;processor cycles:clock speed,time;unit cost:fixed costs,units sold`,
}).flatMap(([domain, text]) =>
  text.split(/[;\n]/).map((entry) => {
    const [result, quantities] = entry.split(":");
    return {
      domain,
      result,
      quantities: quantities
        .split(",")
        .map((q) => ({ name: q.replace("?", ""), required: !q.endsWith("?") })),
    };
  }),
);

/** Words for results that nobody has computed yet. */
export const INDEX_WORDS =
  "load stress flow comfort risk growth noise heat light drift balance wear cover yield speed safety fatigue impact spread quality demand supply capacity exposure moisture friction stability traffic recovery efficiency".split(
    " ",
  );
export const INDEX_KINDS = "index factor ratio score coefficient rate number estimate level limit".split(" ");
