// Names of common knowledge, which no sample of a training file has to have: what a country is called, and so on.

export const COUNTRIES = (
  "Afghanistan|Albania|Algeria|American Samoa|Andorra|Angola|Anguilla|Antarctica|Antigua and Barbuda|Argentina|" +
  "Armenia|Aruba|Australia|Austria|Azerbaijan|Bahamas|Bahrain|Bangladesh|Barbados|Belarus|Belgium|Belize|Benin|" +
  "Bermuda|Bhutan|Bolivia|Bosnia and Herzegovina|Botswana|Bouvet Island|Brazil|British Indian Ocean Territory|" +
  "British Virgin Islands|Brunei|Bulgaria|Burkina Faso|Burma|Burundi|Cambodia|Cameroon|Canada|Cape Verde|" +
  "Caribbean Netherlands|Cayman Islands|Central African Republic|Chad|Chile|China|Christmas Island|Cocos Islands|" +
  "Colombia|Comoros|Congo - Brazzaville|Congo - Kinshasa|Cook Islands|Costa Rica|Croatia|Cuba|Curaçao|Cyprus|" +
  "Czech Republic|Czechia|Côte d’Ivoire|Denmark|Djibouti|Dominica|Dominican Republic|East Timor|Ecuador|Egypt|" +
  "El Salvador|England|Equatorial Guinea|Eritrea|Estonia|Eswatini|Ethiopia|Falkland Islands|Faroe Islands|Fiji|" +
  "Finland|France|French Guiana|French Polynesia|French Southern Territories|Gabon|Gambia|Georgia|Germany|Ghana|" +
  "Gibraltar|Greece|Greenland|Grenada|Guadeloupe|Guam|Guatemala|Guernsey|Guinea|Guinea-Bissau|Guyana|Haiti|" +
  "Heard and McDonald Islands|Holland|Honduras|Hong Kong|Hungary|Iceland|India|Indonesia|Iran|Iraq|Ireland|" +
  "Isle of Man|Israel|Italy|Ivory Coast|Jamaica|Japan|Jersey|Jordan|Kazakhstan|Kenya|Kiribati|Kuwait|Kyrgyzstan|" +
  "Laos|Latvia|Lebanon|Lesotho|Liberia|Libya|Liechtenstein|Lithuania|Luxembourg|Macau|Madagascar|Malawi|Malaysia|" +
  "Maldives|Mali|Malta|Marshall Islands|Martinique|Mauritania|Mauritius|Mayotte|Mexico|Micronesia|Moldova|Monaco|" +
  "Mongolia|Montenegro|Montserrat|Morocco|Mozambique|Myanmar|Namibia|Nauru|Nepal|Netherlands|New Caledonia|" +
  "New Zealand|Nicaragua|Niger|Nigeria|Niue|Norfolk Island|North Korea|North Macedonia|Northern Mariana Islands|" +
  "Norway|Oman|Pakistan|Palau|Palestine|Palestinian Territories|Panama|Papua New Guinea|Paraguay|Peru|Philippines|" +
  "Pitcairn Islands|Poland|Portugal|Puerto Rico|Qatar|Republic of the Congo|Romania|Russia|Rwanda|Réunion|" +
  "Saint Barthélemy|Saint Helena|Saint Kitts and Nevis|Saint Lucia|Saint Martin|Saint Pierre and Miquelon|" +
  "Saint Vincent and Grenadines|Samoa|San Marino|Saudi Arabia|Scotland|Senegal|Serbia|Seychelles|Sierra Leone|" +
  "Singapore|Sint Maarten|Slovakia|Slovenia|Solomon Islands|Somalia|South Africa|" +
  "South Georgia and South Sandwich Islands|South Korea|South Sudan|Spain|Sri Lanka|Sudan|Suriname|" +
  "Svalbard and Jan Mayen|Swaziland|Sweden|Switzerland|Syria|São Tomé and Príncipe|Taiwan|Tajikistan|Tanzania|" +
  "Thailand|Timor-Leste|Togo|Tokelau|Tonga|Trinidad and Tobago|Tunisia|Turkey|Turkmenistan|" +
  "Turks and Caicos Islands|Tuvalu|U.S. Outlying Islands|U.S. Virgin Islands|UAE|UK|USA|Uganda|Ukraine|" +
  "United Arab Emirates|United Kingdom|United States|United States of America|Uruguay|Uzbekistan|Vanuatu|" +
  "Vatican City|Venezuela|Vietnam|Wales|Wallis and Futuna|Western Sahara|Yemen|Zambia|Zimbabwe|Åland Islands"
).split("|");

export const STATES = (
  "Alabama|AL|Alaska|AK|Arizona|AZ|Arkansas|AR|California|CA|Colorado|CO|Connecticut|CT|Delaware|DE|Florida|FL|" +
  "Georgia|GA|Hawaii|HI|Idaho|ID|Illinois|IL|Indiana|IN|Iowa|IA|Kansas|KS|Kentucky|KY|Louisiana|LA|Maine|ME|" +
  "Maryland|MD|Massachusetts|MA|Michigan|MI|Minnesota|MN|Mississippi|MS|Missouri|MO|Montana|MT|Nebraska|NE|Nevada|" +
  "NV|New Hampshire|NH|New Jersey|NJ|New Mexico|NM|New York|NY|North Carolina|NC|North Dakota|ND|Ohio|OH|Oklahoma|" +
  "OK|Oregon|OR|Pennsylvania|PA|Rhode Island|RI|South Carolina|SC|South Dakota|SD|Tennessee|TN|Texas|TX|Utah|UT|" +
  "Vermont|VT|Virginia|VA|Washington|WA|West Virginia|WV|Wisconsin|WI|Wyoming|WY|District of Columbia|DC"
).split("|");

export const CITIES = (
  "Paris|London|Berlin|Madrid|Rome|Vienna|Prague|Lisbon|Dublin|Oslo|Stockholm|Helsinki|Copenhagen|Warsaw|Budapest|" +
  "Athens|Istanbul|Cairo|Lagos|Nairobi|Accra|Dakar|Tunis|Casablanca|Cape Town|Johannesburg|Dubai|Riyadh|Tehran|" +
  "Baghdad|Beirut|Karachi|Lahore|Delhi|Mumbai|Chennai|Kolkata|Dhaka|Colombo|Kathmandu|Bangkok|Hanoi|Manila|" +
  "Jakarta|Singapore|Kuala Lumpur|Beijing|Shanghai|Taipei|Seoul|Tokyo|Osaka|Kyoto|Sydney|Melbourne|Perth|Auckland|" +
  "Toronto|Montreal|Vancouver|Ottawa|Calgary|Chicago|Boston|Seattle|Portland|Denver|Dallas|Houston|Austin|Phoenix|" +
  "Las Vegas|Los Angeles|San Diego|San Francisco|Sacramento|Miami|Orlando|Atlanta|Nashville|Memphis|New Orleans|" +
  "Detroit|Cleveland|Columbus|Cincinnati|Pittsburgh|Philadelphia|Baltimore|Minneapolis|Milwaukee|Saint Louis|" +
  "Kansas City|Omaha|Salt Lake City|Boise|Albuquerque|Tucson|Fargo|Havana|Mexico City|Guadalajara|Bogota|Lima|" +
  "Quito|Santiago|Buenos Aires|Montevideo|Sao Paulo|Rio de Janeiro|Caracas|La Paz"
).split("|");

export const GENRES = (
  "acapella|afrobeat|ambient|bluegrass|blues|bossa nova|breakbeat|britpop|chamber music|chiptune|classical|" +
  "country|crossover|dance|dancehall|deep house|disco|downtempo|drum and bass|dub|dubstep|easy listening|electro|" +
  "electronic|emo|eurobeat|flamenco|folk|folk rock|funk|garage|garage rock|gospel|grime|grunge|hard rock|hardcore|" +
  "hardcore hip hop|heavy metal|hip hop|house|indie|indie pop|industrial|j-pop|jazz|k-pop|latin|lounge|merengue|" +
  "metal|motown|neo soul|new age|new wave|opera|pop|pop punk|post-punk|progressive rock|psychedelic|punk|r&b|" +
  "ragtime|rap|reggae|reggaeton|rock|rockabilly|salsa|samba|ska|smooth jazz|soft rock|soul|southern rock|surf|" +
  "swing|symphonic|synthpop|tango|techno|trance|trap|trip hop|trova|vocal|western|world music|zouk|zydeco"
).split("|");

export const CUISINES = (
  "Afghan|African|Algerian|American|Argentinian|Armenian|Australian|Austrian|Bavarian|Belgian|Brazilian|British|" +
  "Burmese|Cajun|Cambodian|Cantonese|Caribbean|Catalan|Chinese|Colombian|Creole|Croatian|Cuban|Czech|Danish|Dutch|" +
  "Egyptian|Ethiopian|Filipino|Finnish|French|Fusion|Georgian|German|Greek|Halal|Hawaiian|Hungarian|Indian|" +
  "Indonesian|Iranian|Irish|Israeli|Italian|Jamaican|Japanese|Jewish|Kenyan|Korean|Kosher|Lebanese|Malaysian|" +
  "Mediterranean|Mexican|Moroccan|Nepalese|New Zealand|Nigerian|Norwegian|Pakistani|Persian|Peruvian|Polish|" +
  "Portuguese|Punjabi|Romanian|Russian|Scandinavian|Scottish|Senegalese|Sicilian|Sichuan|Singaporean|soul food|" +
  "South African|Southern|Southwestern|Spanish|Sri Lankan|Swedish|Swiss|Syrian|Szechuan|Taiwanese|Tex-Mex|Thai|" +
  "Tibetan|Tunisian|Turkish|Tuscan|Ukrainian|Uzbek|vegan|vegetarian|Vietnamese|Welsh"
).split("|");
