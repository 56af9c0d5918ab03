// What can be done with any thing. A verb: names of functions; beginnings of sentences, with {o} for "the thing" in other
// words, {a} with "a" before it, {os} for several, {id} for how one is named; and which arguments it takes.
// "~" before a beginning: no order but a note or a question, which takes no "please" or "can you".

const list = (text) => text.trim().split(/\s*;\s*/);

export const VERBS = [
  {
    names: "create add new make register open",
    heads: list(
      "create {a};add {a};set up {a};register {a};make {a};put in {a};open {a};enter {a};~new {o};I want {a};~we need {a};get me {a}",
    ),
    desc: "Create {a};Add {a} to the system;Registers a new {o};New {o}",
    own: [2, 4],
    must: [1, 2],
  },
  {
    names: "book order request reserve",
    heads: list(
      "book {a};order {a};request {a};reserve {a};get me {a};arrange {a};I'd like {a};I need {a};~{o}",
    ),
    desc: "Book {a};Order {a};Request {a}",
    own: [2, 4],
    must: [1, 3],
  },
  {
    names: "get fetch show retrieve get_details",
    heads: list(
      "show me the {o} {id};get {o} {id};pull up {o} {id};open the {o} {id};look up {o} {id};~what does {o} {id} say;~details of {o} {id};display {o} {id};bring up the {o} {id};~{o} {id}",
    ),
    desc: "Get the details of {a};Retrieve {a};Show one {o};Fetches {a} by its identifier",
    id: true,
    extra: ["detailed"],
  },
  {
    names: "delete remove erase discard",
    heads: list(
      "delete {o} {id};remove the {o} {id};get rid of {o} {id};erase {o} {id};throw away the {o} {id};drop {o} {id};~{o} {id} can go",
    ),
    desc: "Delete {a};Removes {a} for good",
    id: true,
  },
  {
    names: "cancel call_off revoke withdraw",
    heads: list(
      "cancel {o} {id};call off the {o} {id};withdraw {o} {id};stop {o} {id};~I no longer need {o} {id};~{o} {id} is off",
    ),
    desc: "Cancel {a};Calls {a} off",
    id: true,
    extra: ["reason", "notify"],
  },
  {
    names: "update edit modify change",
    heads: list(
      "update {o} {id};change the {o} {id};edit {o} {id};modify {o} {id};correct the {o} {id};adjust {o} {id}",
    ),
    desc: "Change {a};Update fields of {a};Modifies an existing {o}",
    id: true,
    set: [1, 2],
  },
  {
    names: "list search find query browse",
    heads: list(
      "list all {os};find {os};search {os};show me {os};~which {os} are there;look for {os};~any {os};~what {os} do we have;give me all {os};browse {os};~are there {os}",
    ),
    desc: "List {os};Search {os};Find {os} by several criteria;Returns {os} that match",
    own: [1, 3],
    must: [0, 1],
    extra: ["limit", "sort", "status"],
  },
  {
    names: "count number_of get_total",
    heads: list(
      "~how many {os} are there;count the {os};~number of {os};~how many {os} do we have;tell me how many {os} there are",
    ),
    desc: "Count {os};Number of {os}",
    own: [1, 2],
    must: [0, 1],
    extra: ["status"],
  },
  {
    names: "send share forward email",
    heads: list("send {o} {id};share the {o} {id};forward {o} {id};pass {o} {id} on"),
    desc: "Send {a} to somebody;Share {a}",
    id: true,
    with: ["recipient", "email", "emails", "recipients"],
    extra: ["channel", "message", "format"],
  },
  {
    names: "export download save",
    heads: list("export {o} {id};download {o} {id};save the {o} {id};give me {o} {id}"),
    desc: "Export {a} to a file;Download {a}",
    id: true,
    with: ["format"],
    extra: ["folder", "language"],
  },
  {
    names: "assign delegate hand_over",
    heads: list("assign {o} {id};give {o} {id};hand over {o} {id};delegate the {o} {id}"),
    desc: "Assign {a} to a person;Delegates {a}",
    id: true,
    with: ["assignee"],
    extra: ["due", "priority"],
  },
  {
    names: "reschedule move postpone shift",
    heads: list(
      "reschedule {o} {id};move the {o} {id};postpone {o} {id};push back the {o} {id};shift {o} {id}",
    ),
    desc: "Move {a} to another date;Reschedule {a}",
    id: true,
    with: ["date"],
    extra: ["time", "notify"],
  },
  {
    names: "approve accept confirm sign_off",
    heads: list(
      "approve {o} {id};accept {o} {id};confirm the {o} {id};sign off {o} {id};say yes to {o} {id};~{o} {id} is fine",
    ),
    desc: "Approve {a};Accept {a}",
    id: true,
    extra: ["note", "notify"],
  },
  {
    names: "reject decline deny refuse",
    heads: list("reject {o} {id};decline the {o} {id};turn down {o} {id};refuse {o} {id};say no to {o} {id}"),
    desc: "Reject {a};Decline {a}",
    id: true,
    extra: ["reason", "notify"],
  },
  {
    names: "archive store file_away",
    heads: list("archive {o} {id};file away the {o} {id};put {o} {id} into the archive;store {o} {id} away"),
    desc: "Archive {a};Moves {a} to the archive",
    id: true,
  },
  {
    names: "rate review score",
    heads: list("rate the {o} {id};give {o} {id};review {o} {id}"),
    desc: "Rate {a};Give stars to {a}",
    id: true,
    with: ["rating"],
    extra: ["note"],
  },
  {
    names: "print print_out",
    heads: list("print {o} {id};print out the {o} {id};put {o} {id} on paper"),
    desc: "Print {a};Prints {a} on paper",
    id: true,
    extra: ["copies", "color", "size"],
  },
  {
    names: "track check_status status_of where_is",
    heads: list(
      "track {o} {id};~where is my {o} {id};~what is the status of {o} {id};check on {o} {id};~how is {o} {id} doing;~any news on {o} {id}",
    ),
    desc: "Status of {a};Tells how far {a} is",
    id: true,
    extra: ["detailed", "language"],
  },
  {
    names: "rename relabel",
    heads: list("rename {o} {id};relabel the {o} {id};change the name of {o} {id}"),
    desc: "Rename {a};Gives {a} another name",
    id: true,
    with: ["new_name"],
  },
  {
    names: "duplicate copy clone",
    heads: list("duplicate {o} {id};copy the {o} {id};make a copy of {o} {id};clone {o} {id}"),
    desc: "Duplicate {a};Copies {a}",
    id: true,
    extra: ["new_name", "folder"],
  },
  {
    names: "set_priority prioritize mark",
    heads: list("set {o} {id};mark {o} {id};flag the {o} {id}"),
    desc: "Set the priority of {a};Marks how urgent {a} is",
    id: true,
    with: ["priority"],
  },
  {
    names: "comment_on add_note annotate",
    heads: list("add a note to {o} {id};comment on {o} {id};annotate the {o} {id}"),
    desc: "Add a note to {a};Comment on {a}",
    id: true,
    with: ["note"],
    extra: ["private"],
  },
  {
    names: "lock block freeze suspend",
    heads: list("lock {o} {id};block the {o} {id};freeze {o} {id};suspend {o} {id};put {o} {id} on hold"),
    desc: "Block {a};Suspends {a}",
    id: true,
    extra: ["reason", "days"],
  },
  {
    names: "unlock unblock reactivate restore",
    heads: list(
      "unlock {o} {id};unblock the {o} {id};reactivate {o} {id};restore {o} {id};bring back {o} {id}",
    ),
    desc: "Unblock {a};Restores {a}",
    id: true,
  },
  {
    names: "subscribe_to follow watch",
    heads: list("follow {o} {id};keep me posted on {o} {id};watch {o} {id};subscribe to {o} {id}"),
    desc: "Follow {a};Get news of {a}",
    id: true,
    extra: ["channel", "period"],
  },
  {
    names: "compare compare_two",
    heads: list("compare {os};~how do these {os} differ: ;contrast {os}"),
    desc: "Compare {os};Shows how {os} differ",
    with: ["codes"],
    extra: ["format"],
  },
];
