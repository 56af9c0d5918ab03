// Things that functions handle, by field of life and work, each with what is told of it. A line: noun = other words |
// how one is named | its roles (of roles.mjs). Verbs that fit every thing make functions of them: see verbs.mjs.

const OBJECTS = {
  travel: `
flight=plane ticket|flight|origin destination date seat adults round_trip direct budget
hotel room=room,hotel|id|city start_date nights people breakfast wifi budget
rental car=car hire,car|id|city start_date days size insured
train ticket=train seat|id|origin destination date time seat
trip=journey,tour|name|cities start_date days people budget
travel guide=city guide|title|city language topic
visa application=visa|id|country person start_date days
boat tour=boat trip|id|place date people price
luggage claim=lost bag,bag|id|flight color weight`,
  food: `
recipe=dish|title|ingredients diet cuisine minutes calories
table reservation=table,reservation|id|city people date time
shopping list=grocery list|name|ingredients person
meal plan=menu plan|name|days diet calories people
catering order=catering|id|food people date street
wine=bottle of wine|title|country year price min_rating
food order=takeaway,delivery|order|food quantity street payment
kitchen timer=timer|name|minutes food`,
  health: `
appointment=visit,consultation|id|doctor date time reason
prescription=script|id|patient medicine dose days
lab result=blood test,test result|id|patient date
vaccination=shot,vaccine|id|patient disease date
symptom=complaint|name|person disease days
workout=training session|name|minutes level calories
patient record=medical record,chart|patient|age disease doctor
gym membership=membership|id|person start_date price
diet log=food diary|name|food calories date`,
  law: `
contract=agreement|id|company start_date years amount
court case=lawsuit,case|case|court law_topic year
trademark=brand registration|name|company country
patent=invention|id|author topic year
will=testament|id|person date
hearing=court date|case|court date time
legal document=paper,deed|title|law_topic language
complaint=claim|id|person company reason amount
license=permit|id|person place end_date`,
  finance: `
invoice=bill|id|customer amount due currency
payment=transfer|id|recipient amount currency date
bank account=account|account|person currency
loan=credit|id|customer amount rate years
expense=cost,spending|id|amount date note
budget=spending plan|name|amount month
stock order=trade,order for stock|id|ticker shares price
tax return=tax declaration|id|person year
insurance policy=policy,insurance|id|customer amount start_date
savings goal=savings plan|name|amount due
refund=reimbursement|id|order amount reason
credit card=card|id|person amount`,
  industry: `
work order=job order|id|machine due priority
machine=equipment|machine|place status
spare part=component|sku|machine quantity supplier
batch=lot|batch|product quantity date
sensor=probe|sensor|machine temperature
maintenance=service,inspection|id|machine date employee
defect=fault,quality issue|id|batch note priority
shift=work shift|id|employee date time hours
safety report=incident report|id|place date note`,
  logistics: `
shipment=delivery,parcel|tracking|street weight date insured
package=parcel,box|tracking|weight city urgent
truck=lorry,vehicle|plate|place weight
warehouse=depot|name|city
pallet=skid|id|product quantity weight
delivery route=route,tour|name|cities date mode
container=freight container|id|origin destination weight
pickup=collection|id|street date time
customs form=customs declaration|id|country product amount`,
  school: `
course=class|name|school_subject level start_date
student=pupil|student|age school_subject
exam=test|id|school_subject date time room
assignment=homework|title|school_subject due
grade=mark|id|student school_subject score
lesson=tutoring session|id|student school_subject date time
library book=book loan|title|author student due
essay=paper|title|topic pages
timetable=class schedule|name|weekday student
scholarship=grant|id|student amount year
quiz=question set|title|school_subject level limit`,
  sports: `
match=game|id|team opponent date place
player=athlete|person|team age
tournament=cup,competition|name|city start_date
training session=practice|id|team weekday time
season ticket=ticket|id|team year price
race=run|name|city distance date
score sheet=result sheet|id|team score
tennis court=court|id|date time minutes
league table=standings|id|league year`,
  music: `
playlist=mix|name|genre artist limit
song=track|title|artist genre year
album=record|title|artist year
concert=gig,show|id|artist city date
concert ticket=gig ticket|id|artist city quantity budget
guitar lesson=music lesson|id|person weekday time
podcast episode=podcast|title|topic minutes
instrument=musical instrument|name|brand price`,
  home: `
light=lamp,lights|name|room color percent
thermostat=heating|name|room temperature
alarm=alarm clock|name|time weekday repeat
blind=shutter,curtain|name|room percent
chore=housework|name|person room weekday
vacuum robot=robot vacuum|name|room time
security camera=camera|name|room notify
door lock=lock|name|room person
plumber visit=plumber,repair visit|id|street date reason
heating schedule=warm up plan|name|room time temperature`,
  shop: `
order=purchase|order|customer products payment gift
product=item,article|sku|name price color
cart=shopping cart,basket|id|username products
coupon=voucher,discount code|id|discount end_date
return=return shipment|id|order reason
customer=client|customer|email phone street
review=product review|id|product rating note
gift card=gift voucher|id|recipient amount
wish list=favorites|name|username products
price alert=price watch|id|product budget
subscription=plan|id|username period price`,
  devices: `
printer job=print job|id|file copies color
phone=mobile phone|id|username brand
backup=data backup|name|folder period
screenshot=screen capture|file|device
software update=update,patch|id|device time
network=wifi network|name|room
password=login|id|username url
battery report=battery status|id|device
bluetooth device=headset|name|brand`,
  files: `
file=document|file|folder private
folder=directory|folder|private
spreadsheet=table|title|folder pages
archive=zip file|file|files folder
photo=picture,image|file|place date
video=clip,movie file|file|minutes format
note=memo|title|note topics
log file=log|file|date device
presentation=slide deck,slides|title|topic pages
form=questionnaire|title|topic`,
  calendar: `
meeting=call,sync|subject|attendees date time minutes
event=appointment|title|date time place
reminder=alert|task|date time
holiday request=vacation,leave|id|employee start_date end_date
birthday=birthday entry|person|date
task=to do,todo|task|due priority assignee
deadline=due date|name|project date
room booking=meeting room|id|room date time people
conference=congress|title|city start_date topic`,
  messaging: `
message=text|id|recipient message channel
email=mail|subject|emails message
contact=address book entry|person|phone email
group chat=group|name|attendees
newsletter=mailing|title|topic date
voice mail=voice message|id|sender minutes
channel=chat channel|name|topic private
notification=alert|id|username message channel
call=phone call|id|recipient time`,
  maps: `
route=way,directions|name|origin destination mode
place=location,spot|place|city min_rating
parking space=parking|id|street hours
traffic report=traffic|id|city
bus stop=stop|name|street
hiking trail=hike,trail|name|region distance level
bike station=bike rental station|name|street
charging station=charger|name|city speed
map=city map|title|city format`,
  science: `
experiment=trial|name|topic date
sample=specimen|id|chemical temperature
measurement=reading|id|sensor date
dataset=data set|name|topic format
telescope slot=telescope time|id|date hours
research paper=paper,article|title|author topic year
species record=sighting|id|animal place date
lab booking=laboratory slot|id|room date hours
star chart=sky map|name|place date
hypothesis=idea|title|topic`,
  energy: `
solar panel=photovoltaic panel|id|place brand
power plant=plant|name|region
meter reading=reading|id|street date
energy tariff=electricity plan|name|price years
wind turbine=turbine|id|place speed
battery storage=home battery|id|room
outage=power cut|id|city time
gas contract=gas supply|id|customer years`,
  farming: `
field=plot|name|plant distance
harvest=crop|id|plant date weight
cow=animal|id|age weight
tractor=farm vehicle|plate|brand
irrigation=watering plan|name|plant minutes
seed order=seeds|order|plant quantity
milk delivery=milk pickup|id|date weight
greenhouse=glass house|name|temperature
beehive=hive|name|place`,
  games: `
game=video game|title|genre year
player profile=gamer profile|username|level country
tournament match=duel|id|username date
character=hero|name|level role
achievement=trophy|name|username
chess game=chess match|id|username level minutes
game server=server|name|region people
quest=mission|title|level
inventory item=loot|name|quantity`,
  pets: `
vet visit=vet appointment|id|animal date time
pet=animal|name|animal age
dog walk=walk|id|person time minutes
feeding=meal|id|animal time
pet food=feed|sku|brand animal price
grooming=fur trim|id|animal date
adoption=pet adoption|id|animal person
litter box=tray|name|room`,
  work: `
employee=staff member|employee|role start_date salary
job posting=vacancy,job ad|title|city salary
applicant=candidate|person|email role
time sheet=hours record|id|employee hours date
business trip=work trip|id|employee destination start_date
project=initiative|project|due budget
team=group|name|people
performance review=appraisal|id|employee date rating
ticket=issue,support request|id|priority assignee note
survey=poll|title|topic
office supply order=supplies|order|products quantity`,
  building: `
building site=construction site|name|street start_date
blueprint=drawing,plan|title|pages
crane=lifting crane|id|place weight
material order=building materials|order|material quantity
permit=building permit|id|street date
apartment=flat|street|city price people
lease=rental contract|id|person amount start_date
renovation=refurbishment|name|room budget
elevator=lift|id|street
tenant=renter|person|street amount
house viewing=viewing|id|street date time`,
  media: `
movie=film|title|director year genre
series=show,tv show|title|genre year
news article=news,article|title|topic date
book=novel|title|author year
cinema ticket=movie ticket|id|title city time
comic=graphic novel|title|author
radio station=radio channel|name|genre
blog post=post|title|topics author
museum exhibition=exhibition|title|city start_date
painting=artwork|title|artist year`,
  public: `
passport=travel document|id|person end_date
polling station=voting place|name|street
parking ticket=fine|id|plate amount
library card=reader card|id|person
bus pass=transit pass|id|person month
recycling pickup=garbage collection|id|street weekday
donation=gift to charity|id|person amount
volunteer=helper|person|weekday city
petition=appeal|title|topic
fire report=emergency report|id|street
census entry=registry entry|id|person street`,
};

/** A thing of a line. */
export function thingOf(domain, line) {
  const [nouns, id, roles] = line.split("|");
  const [noun, others] = nouns.split("=");
  return { domain, noun, others: [noun, ...(others?.split(",") ?? [])], id, roles: roles.split(" ") };
}

/** Every thing: { domain, noun, others, id, roles }. */
export const things = Object.entries(OBJECTS).flatMap(([domain, text]) =>
  text
    .trim()
    .split("\n")
    .map((line) => thingOf(domain, line)),
);
