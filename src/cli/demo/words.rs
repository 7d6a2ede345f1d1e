//! Words and sentences that belong to no topic. In them `{t}` stands for things of a topic, in
//! the plural, `{T}` for the same at the start of a sentence, `{d}` for something one does,
//! `{D}` likewise, `{n}` for a small number, `{span}` for a stretch of time.

/// Titles to be filled.
pub const TITLES: &[&str] = &[
    "A field guide to {t}",
    "What {t} taught me about patience",
    "In praise of {t}",
    "{T}, explained slowly",
    "Notes from {span} of {d}",
    "The quiet return of {t}",
    "Why {t} still matter",
    "{D}: a practical essay",
    "A small theory of {t}",
    "Everything I got wrong about {t}",
    "{T} for people in a hurry",
    "The case against {t}",
    "The case for {t}, {span} later",
    "How we chose our {t}",
    "Drawing {t} from memory",
    "{D}, and other habits worth keeping",
    "The economics of {t}",
    "Lessons from {n} failed attempts at {d}",
    "A letter to somebody who is new to {t}",
    "What nobody told me about {d}",
    "{T} after dark",
    "Learning to love {t}",
    "{D} when you have ten minutes",
    "An unreasonable interest in {t}",
    "Things I believe about {t}",
];

/// Sentences that open a comment on a story.
pub const OPENINGS: &[&str] = &[
    "Lovely piece.",
    "I have waited years for somebody to write this down.",
    "This matches what I have seen with {t}.",
    "Long-time lurker, but {d} is something that I know a little about.",
    "I read this twice, once for the argument and once for the pictures.",
    "There is a second way of looking at {t} that the author only hints at.",
    "We tried the same for {span}.",
    "I am not convinced yet, but I enjoyed being argued with.",
    "The part about {d} made me smile.",
    "Small correction from somebody who works with {t}.",
    "What a calm, well-made page.",
    "I sent this to {n} colleagues before I had finished it.",
    "The title undersells it.",
    "As with most writing on {t}, the interesting part is in the footnotes.",
    "My mother did this for a living, so forgive the length.",
    "Two things can be true here.",
];

/// Sentences that open a reply to a comment.
pub const REPLIES: &[&str] = &[
    "Thank you, that is a better way to put it.",
    "Seconded.",
    "I would add one caution.",
    "Same here, down to the weather.",
    "That was my view as well, until I spent {span} with {t}.",
    "Could you say more about {d}?",
    "Gently disagree.",
    "This is the comment I came for.",
    "It depends on the size, I think.",
    "We had the opposite experience.",
    "True for most {t}, but not for all of them.",
    "I had not thought of {d} that way.",
    "Do you have a photograph of that?",
    "You are both describing the same thing from two ends.",
    "Fair point, and well made.",
    "I laughed, then I checked, and you are right.",
];

/// Sentences from the middle of a thought.
pub const MIDDLES: &[&str] = &[
    "{T} reward patience more than skill.",
    "After {span} I still learn something whenever I try {d}.",
    "What helped us most was {d}, which sounds too simple to be advice.",
    "The trouble starts when {t} become somebody's whole identity.",
    "I keep a list of {n} questions beside me and ask them before I begin.",
    "Nobody regrets {d}, but everybody postpones it.",
    "For beginners I recommend {t}: they are cheap, and honest about mistakes.",
    "There are {n} good books on {t}, and they disagree on page one.",
    "You notice the difference after about {span}.",
    "I used to think that {t} were a matter of taste.",
    "The old hands on our street swear by {d}, and the old hands are usually right.",
    "It took me {n} attempts and one long walk to see why.",
    "{D} is the part that cannot be delegated.",
    "Most of what is written about {t} assumes far more room than we have.",
    "The numbers in the article are lower than mine, though not by much.",
    "I measured it over {span}, and the effect is real but small.",
    "People forget how much of this is simply {d}.",
    "Our first {t} were terrible, and we still have them.",
    "The trick, if there is one, is to stop a little earlier than you want to.",
    "It is slower on paper and faster in practice.",
    "A neighbour showed me {d} when I was nine, and I have not found a better way.",
    "I would rather have {n} plain ones than a single clever one.",
    "The cheap version works, provided that you write down what you did.",
    "With {t} the first hour decides the rest of the week.",
    "Our town has a whole society for {t}, with minutes and a treasurer.",
    "If you only change one habit, let it be {d}.",
    "I have seen {t} outlast the people who laughed at them.",
    "You can learn a great deal from {t} that somebody else gave up on.",
    "It looked like a question of money and turned out to be one of {d}.",
    "Where I grew up, {t} were simply there, like weather.",
    "The best advice I had was to try {d} before buying anything.",
    "Give it {span}, and then ask again.",
    "In our house {t} outnumber the people, {n} to one.",
    "What surprised me was how quiet {d} can be.",
    "My rule is to replace {t} only when I can say why.",
    "Half of {d} is knowing when to put the kettle on.",
    "{T} are the easy part; agreeing on them takes {span}.",
    "I drew it on paper first, {n} times, and then it was obvious.",
    "Children take to {d} at once, which should tell us something.",
    "Somebody ought to make a list of {t} that were saved by a phone call.",
    "The article could have ended with {d}, and I would have cheered.",
];

/// Sentences that end a comment.
pub const ENDINGS: &[&str] = &[
    "I am happy to share my notes, if anybody wants them.",
    "Curious what others have found.",
    "Anyway, thank you for writing this.",
    "Your mileage will vary with the climate.",
    "I hope that the author keeps going.",
    "That is all I know, and I have now typed it.",
    "There is a longer answer, but it needs a table and a pot of tea.",
    "I would do it again.",
    "The rest is practice.",
    "Bookmarked for the winter.",
];

/// How a question goes on after its title.
pub const QUESTIONS: &[&str] = &[
    "I have been thinking about this since last week, when a conversation about {t} went on long \
     after the coffee was cold.",
    "We are {n} people with an interest in {t} and no budget to speak of.",
    "Background: I came to this late, by way of {d}, and I am still surprised by how much there \
     is to know.",
    "Every guide I found begins with {d} and ends where my questions start.",
];

/// How a question closes.
pub const INVITATIONS: &[&str] = &[
    "Stories are as welcome as advice.",
    "I will collect the answers and post a summary.",
    "Failures especially welcome.",
    "No need to be practical.",
];

/// What somebody says of a thing they made.
pub const MAKERS: &[&str] = &[
    "Hello! I made this over {span}, mostly in the evenings, because {d} kept raising the same \
     question and no tool would answer it.",
    "This began as a joke about {t} and got out of hand.",
    "A small tool for a small itch: it does one thing for people who care about {t}.",
];

/// Stretches of time.
pub const SPANS: &[&str] =
    &["a month", "one winter", "two years", "six weeks", "ten years", "a summer", "three seasons"];

/// Small numbers.
pub const NUMBERS: &[&str] = &["two", "three", "four", "five", "seven", "nine", "twelve"];

/// First halves of user names.
pub const NAME_HEADS: &[&str] = &[
    "quiet", "moss", "ink", "tern", "copper", "amber", "slow", "north", "paper", "salt", "fern",
    "lantern", "rook", "willow", "granite", "plum", "harbor", "velvet", "thistle", "cinder",
];

/// Second halves of user names.
pub const NAME_TAILS: &[&str] = &[
    "lathe", "garden", "_otter", "pot", "wright", "lark", "field", "-ada", "mill", "vane", "hill",
    "smith", "_jo", "fold", "walker", "glass", "reader", "1911", "bird", "stone",
];

/// What people say of themselves.
pub const ABOUTS: &[&str] = &[
    "Repairs things that are not broken yet.",
    "Engineer by day, baker by Sunday.",
    "I write about maps, mostly wrong ones.",
    "Keeper of one small server and eleven pear trees.",
    "Retired surveyor. Ask me about drainage.",
    "Opinions my own, the cat's, or both.",
];

/// Who hires.
pub const COMPANIES: &[&str] =
    &["Lanternhouse", "Northmill", "Ivorybridge", "Hillfort Storage", "Saltworks", "Fieldwork"];

/// For what.
pub const ROLES: &[&str] = &[
    "a patient systems engineer",
    "a cartographer who can program",
    "somebody who likes documentation",
    "a designer with strong views on tables",
    "its second database engineer",
];

/// Where.
pub const PLACES: &[&str] =
    &["by the river", "Lisbon or remote", "remote, daylight hours", "Tartu", "a former mill"];

/// Texts that a page must not pass on as they are: each would run, load or restyle something.
pub const HOSTILE: &[&str] = &[
    "A classic, and I am sorry: <script>document.title = 'owned'</script>it should be gone, and \
     this sentence should still be here.",
    "Hover over <b onmouseover=\"alert(1)\" onclick=\"alert(2)\">these bold words</b> all you \
     like; they are only bold.",
    "The innocent link: <a href=\"javascript:alert(document.cookie)\" rel=\"nofollow\">free \
     typefaces</a>. It should have lost its address.",
    "A picture that is not there: <img src=x onerror=alert(1)> and a frame: <iframe \
     src=\"https://frames.example/\"></iframe>.",
    "<style>body { display: none }</style>If you can read this, the style sheet did not make it.",
    "Unclosed on purpose: <i>the italics <b>and the bold <div>should end with this comment, not \
     with the page.",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s></svg>Scalable, and harmless by now.",
    "</article></main><h1>A headline that does not belong here</h1> Broken out of the layout? \
     Hopefully not.",
];

/// The question under which the hostile texts gather.
pub const HOSTILE_TITLE: &str =
    "Ask HN: Strangest <script>markup</script> you have met in a \"plain text\" field?";

/// A poll, and what can be chosen.
pub const POLL: (&str, &[&str]) = (
    "Poll: Where do you take your notes?",
    &[
        "A paper notebook",
        "Plain text files",
        "One enormous document",
        "The back of an envelope",
        "I remember everything (I do not)",
    ],
);

/// What stands under that question.
pub const HOSTILE_BODY: &str = "I look after a small reader that shows what other people typed. \
     Most of it is lovely. Some of it is the reason why I now read the manual of our \
     sanitiser before breakfast.<p>Please leave your favourites below; they are all harmless \
     here, or at least they should be.";

/// What a job is about.
pub const JOBS: &[&str] = &[
    "We are a team of eight who look after reading rooms, their catalogues and the software \
     in between. You would join us for the dull parts as well, which we pay for in full.\
     <p>Write to us with a page that you are proud of; a CV is optional.",
    "Four days a week, no night shifts, and a lake within walking distance.<p>We care more \
     about how you explain things than about what you have used before.",
    "Our oldest customer has been with us for nineteen years, and so has our oldest bug. \
     Come and meet both.",
];
