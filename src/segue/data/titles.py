"""The words of an invented film catalogue: kinds of film, each with genres, years and a vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Kind(NamedTuple):
    """One kind of film: its films share genres (the first is the main one), an age and words."""

    genres: tuple[str, ...]
    years: tuple[int, int]
    share: float
    places: str
    mood: str
    adjectives: list[str]
    nouns: list[str]


def _kind(
    genres: str, years: tuple[int, int], share: float, places: str, mood: str, adjectives: str, nouns: str
) -> Kind:
    return Kind(tuple(genres.split()), years, share, places, mood, adjectives.split(), nouns.split())


KINDS = (
    _kind("Sci-Fi Adventure Action", (1976, 2018), 1.3, "space", "epic",
          "Distant Burning Silent Outer Drifting Nameless Frozen Second Starless Farthest",
          "Starship Nebula Outpost Orbit Comet Colony Beacon Satellite Asteroid Stowaway Eclipse Airlock"),
    _kind("Sci-Fi Thriller", (1982, 2018), 1.1, "city", "dark",
          "Synthetic Hollow Electric Neon Perfect Artificial Borrowed Digital Forbidden Sleepless",
          "Android Algorithm Circuit Clone Signal Upload Replica Hologram Network Automaton "
          "Laboratory Machine"),
    _kind("Sci-Fi Drama Mystery", (1968, 2018), 0.8, "city", "dark",
          "Parallel Endless Repeated Backward Missing Sideways Broken Earlier Unwritten Circular",
          "Hourglass Paradox Clockmaker Timetable Sundial Calendar Pendulum Minute Anniversary "
          "Century Loop Wristwatch"),
    _kind("Sci-Fi Horror Action", (1954, 2016), 0.8, "frontier", "dark",
          "Crawling Buried Swarming Giant Hungry Unknown Radioactive Pale Invading Deadly",
          "Crater Specimen Swarm Saucer Meteor Parasite Quarantine Hive Tentacle Organism Cocoon Infection"),
    _kind("Horror Thriller", (1974, 2018), 1.2, "frontier", "dark",
          "Screaming Bloody Locked Crooked Rotten Twisted Final Unlit Creeping Wicked",
          "Cabin Scarecrow Basement Hatchet Campfire Lantern Babysitter Meathook Motel Graveyard "
          "Slaughter Cellar"),
    _kind("Horror Mystery", (1960, 2018), 0.9, "coast", "dark",
          "Whispering Pale Grieving Haunted Sunken Veiled Restless Faceless Candlelit Weeping",
          "Attic Seance Apparition Nursery Chapel Portrait Orphanage Staircase Medium Mirror "
          "Governess Crypt"),
    _kind("Horror Fantasy Romance", (1931, 2014), 0.6, "realm", "dark",
          "Crimson Moonlit Cursed Immortal Ancient Thirsty Howling Undying Withered Nocturnal",
          "Vampire Werewolf Coffin Countess Cathedral Bloodline Familiar Gargoyle Catacomb Castle "
          "Mausoleum Bat"),
    _kind("Crime Thriller Comedy", (1960, 2018), 1.2, "city", "dark",
          "Perfect Clever Crooked Foolproof Two-Minute Borrowed Polite Elegant Reluctant Unlucky",
          "Heist Safecracker Vault Getaway Forger Jewel Swindle Alibi Pickpocket Casino Robbery Diamond"),
    _kind("Crime Drama", (1970, 2018), 1.3, "city", "dark",
          "Loyal Bitter Loaded Bleeding Guilty Honest Ruthless Concrete Unpaid Cornered",
          "Brotherhood Syndicate Informer Racket Verdict Kingpin Debt Shakedown Godson Precinct "
          "Bribe Consigliere"),
    _kind("Film-Noir Crime Mystery", (1941, 1958), 0.5, "city", "dark",
          "Late Cold Hollow Faithless Smoky Rainy Reckless Blonde Bitter Shady",
          "Alley Cigarette Blackmailer Widow Gambler Trenchcoat Nightclub Shadow Revolver Ashtray "
          "Streetlamp Betrayal"),
    _kind("Mystery Crime", (1934, 2012), 0.8, "coast", "light",
          "Curious Missing Seventh Poisoned Punctual Unfinished Suspicious Stolen Absent Forgotten",
          "Inspector Manuscript Butler Vicarage Locket Inheritance Clue Murder Teacup Detective "
          "Dinner Umbrella"),
    _kind("Thriller Drama", (1971, 2018), 1.1, "city", "dark",
          "Classified Hidden Anonymous Deniable Sealed Parallel Silent Fatal Deleted Unseen",
          "Dossier Conspiracy Bystander Wiretap Ministry Whistleblower Memo Hostage Lobbyist Leak "
          "Archive Senator"),
    _kind("Action Thriller Adventure", (1963, 2018), 1.3, "city", "epic",
          "Double Scarlet Rogue Covert Lethal Midnight Velvet Unlisted Golden Undercover",
          "Agent Cipher Embassy Assassin Defector Courier Passport Spymaster Protocol Briefcase "
          "Handler Informant"),
    _kind("Action Crime", (1972, 2018), 1.2, "frontier", "epic",
          "Reckless Burning Nitro Roaring Screeching Wrecked Savage Full-Throttle Stolen Flaming",
          "Overdrive Interceptor Bounty Trucker Dragster Renegade Roadblock Enforcer Ambush Convoy "
          "Mustang Showdown"),
    _kind("Action Drama", (1969, 2012), 0.6, "realm", "epic",
          "Drunken Invisible Patient Thundering Shaolin Fearless Wandering Nine-Fold Jade Masterless",
          "Monastery Dojo Swordmaster Fist Sensei Apprentice Tournament Crane Pagoda Disciple Blade Lotus"),
    _kind("Action Drama Thriller", (1970, 2018), 0.7, "coast", "epic",
          "Rising Molten Shattered Trembling Sinking Howling Collapsing Towering Final Stranded",
          "Avalanche Earthquake Volcano Hurricane Landslide Flood Blackout Rescue Wildfire Tsunami "
          "Airliner Dam"),
    _kind("Fantasy Adventure Action", (1977, 2018), 1.3, "realm", "epic",
          "Enchanted Fallen Sleeping Elder Shattered Winged Silver Forsaken Thorned Runed",
          "Dragon Sorcerer Crown Prophecy Griffin Amulet Kingdom Warlock Throne Spellbook Oracle Shield"),
    _kind("Children Fantasy", (1955, 2018), 0.7, "realm", "light",
          "Tiny Speckled Barefoot Upside-Down Giggling Feathered Lucky Glittering Gentle Untidy",
          "Princess Goblin Teapot Fairy Beanstalk Wishbone Unicorn Slipper Gnome Treehouse Snowflake Wand"),
    _kind("Adventure Action", (1940, 2014), 0.8, "coast", "epic",
          "Drowned Mutinous Stormbound Ragged Salty Sunken Merciless Thirteenth Barnacled Southern",
          "Galleon Buccaneer Mutiny Lagoon Lighthouse Doubloon Corsair Anchor Kraken Shipwreck Mast Parrot"),
    _kind("Adventure Comedy", (1950, 2016), 0.8, "jungle", "epic",
          "Lost Emerald Sacred Uncharted Jewelled Overgrown Feverish Forbidden Painted Bottomless",
          "Idol Expedition Temple Explorer Compass Waterfall Relic Rainforest Pyramid Caravan Ravine Safari"),
    _kind("Animation Children Comedy", (1988, 2018), 1.3, "coast", "light",
          "Grumpy Hungry Bouncing Fearless Sneezing Lazy Purple Clumsy Snoring Brave",
          "Hedgehog Penguin Otter Badger Hamster Walrus Raccoon Duckling Meerkat Flamingo Tortoise Beaver"),
    _kind("Animation Children Musical", (1940, 2018), 0.8, "realm", "light",
          "Paper Dancing Wooden Clockwork Singing Patchwork Marzipan Musical Starry Little",
          "Puppet Toymaker Snowman Kite Balloon Lullaby Marionette Raindrop Toyshop Firefly Moonbeam Acorn"),
    _kind("Animation Fantasy Drama", (1984, 2018), 0.8, "realm", "light",
          "Floating Cloud Weightless Sleepy Glass Migrating Folded Windblown Quiet Thousandth",
          "Bathhouse Airship Heron Spirit Lantern Glider Windmill Persimmon Shrine Cicada Dandelion "
          "Riverbed"),
    _kind("Comedy Romance", (1987, 2018), 1.4, "city", "light",
          "Accidental Perfect Unexpected Second Almost Awkward Spontaneous Convenient Hopeless Charming",
          "Soulmate Bridesmaid Engagement Florist Valentine Elopement Crush Bachelor Proposal "
          "Bouquet Kiss Matchmaker"),
    _kind("Comedy Adventure", (1978, 2018), 1.1, "frontier", "light",
          "Wrong Wayward Rented Unplanned Sunburnt Hungover Misguided Cheap Overdue Hopeless",
          "Roadtrip Caravan Detour Hitchhiker Cousin Vacation Minivan Burrito Lottery Mix-Up "
          "Campervan Passenger"),
    _kind("Comedy", (1982, 2018), 1.0, "coast", "light",
          "Awkward Popular Unsupervised Totally Detention Sophomore Cool Suspended Honorary Freshman",
          "Prom Homeroom Cheerleader Sleepover Yearbook Roommate Substitute Homecoming Mathlete "
          "Locker Nerd Campus"),
    _kind("Comedy Drama", (1985, 2018), 0.9, "city", "light",
          "Mandatory Efficient Temporary Casual Corporate Overpaid Redundant Quarterly Promoted Stapled",
          "Intern Cubicle Memo Takeover Promotion Accountant Photocopier Manager Spreadsheet Strike "
          "Boss Merger"),
    _kind("Drama", (1962, 2018), 1.4, "coast", "soft",
          "Quiet Unspoken Empty Ordinary Patient Faded Slow Wintering Borrowed Tender",
          "Father Kitchen Grandmother Harvest Doorstep Farmhouse Garden Letter Godmother Orchard "
          "Table Homecoming"),
    _kind("Romance Drama", (1940, 2018), 0.9, "city", "soft",
          "Gilded Secret Improper Velvet Penniless Faithful Devoted Scandalous Candlelit Improbable",
          "Duchess Ballroom Governess Suitor Parasol Estate Courtship Waltz Dowry Viscount "
          "Debutante Carriage"),
    _kind("Romance War Drama", (1942, 2016), 0.5, "city", "soft",
          "Unsent Faithful Forgotten Wartime Distant Folded Broken Promised Lonely Tearful",
          "Nurse Letter Platform Farewell Telegram Sailor Station Reunion Photograph Soldier Promise Locket"),
    _kind("Drama Crime", (1957, 2018), 0.8, "frontier", "dark",
          "Reasonable Sworn Hostile Unanimous Innocent Hidden Reluctant Absent Closing Wrongful",
          "Juror Witness Courtroom Testimony Defendant Appeal Prosecutor Confession Oath Judge "
          "Verdict Acquittal"),
    _kind("Drama Mystery", (1986, 2018), 0.8, "frontier", "soft",
          "Snowbound Drowned Silent Unmarked Frozen Estranged Northern Grey Vanished Shallow",
          "Lake Sheriff Disappearance Sawmill Bridge Parish Teacher Neighbour Reservoir Ferryman "
          "Hollow Inlet"),
    _kind("Drama Comedy", (1976, 2018), 0.7, "city", "soft",
          "Undefeated Unlikely Losing Muddy Winning Last-Minute Featherweight Forgotten Rookie Golden",
          "Goalkeeper Coach Season Marathon Pitcher Champion Underdog Boxer League Swimmer Overtime Trophy"),
    _kind("War Drama", (1950, 2018), 0.8, "battle", "soft",
          "Forgotten Muddy Silent Unknown Frozen Bitter Bleeding Long Broken Nameless",
          "Trench Regiment Ceasefire Bayonet Battalion Medic Deserter Barricade Sergeant Retreat "
          "Platoon Bugle"),
    _kind("War Action", (1943, 2014), 0.6, "battle", "epic",
          "Iron Burning Steel Fearless Sunken Thundering Secret Gallant Daring Hundredth",
          "Submarine Squadron Torpedo Bomber Convoy Gunner Paratrooper Destroyer Raid Minefield "
          "Periscope Spitfire"),
    _kind("Western Action", (1948, 1976), 0.6, "frontier", "epic",
          "Lonesome Dusty Crooked Vengeful One-Eyed Silver Fast Wanted Sundown Hanging",
          "Gunslinger Saloon Marshal Stagecoach Desperado Posse Holster Rustler Wrangler Scaffold "
          "Bounty Rattlesnake"),
    _kind("Western Drama Adventure", (1952, 2016), 0.4, "frontier", "soft",
          "Wide Unbroken Lonely Buffalo Sunlit Weathered Wandering Unfenced Windy Distant",
          "Homestead Wagon Rancher Prairie Settler Trapper Mustang Drifter Cattle-Drive Corral Pioneer Barn"),
    _kind("Musical Comedy Romance", (1935, 1968), 0.6, "city", "light",
          "Dazzling Dancing Sparkling Top-Hat Twinkling Sequined Jubilant Swinging Tip-Top Velvet",
          "Chorus Showgirl Tango Revue Footlight Matinee Melody Encore Songbird Ballroom Tap-Dance Serenade"),
    _kind("Musical Drama", (1972, 2018), 0.6, "city", "soft",
          "Electric Unplugged Broken Restless Lonesome Off-Key Golden Fading Loud Acoustic",
          "Songwriter Guitar Rehearsal Drummer Ballad Jukebox Saxophone Chorus Record Tour "
          "Microphone Pianist"),
    _kind("Documentary", (1990, 2018), 0.6, "wild", "wild",
          "Hidden Living Untamed Fragile Migrating Deep Vanishing Silent Wild Breathing",
          "Reef Glacier Savannah Whale Mangrove Lagoon Tundra Albatross Lynx Estuary Wetland Steppe"),
    _kind("Documentary Musical", (1969, 2018), 0.4, "city", "soft",
          "Unheard Original Restless Forgotten Backstage Loud Underground Improvised Lost Electric",
          "Orchestra Recording Festival Conductor Trumpeter Choir Studio Concert Bassist Ballet "
          "Soundcheck Quartet"),
    _kind("Documentary War", (1965, 2018), 0.4, "battle", "soft",
          "Untold Forgotten Living True Hidden Unfinished Secret Contested Divided Surviving",
          "Archive Frontier Testimony Treaty Survivor Newsreel Bunker Uprising Memorial Veteran "
          "Newspaper Siege"),
)  # fmt: skip

GENRES = tuple(sorted({genre for kind in KINDS for genre in kind.genres}))

PLACES = {
    "city": (
        "Lisbon Vienna Chicago Istanbul Havana Prague Marseille Tangier Brooklyn Budapest Shanghai "
        "Naples Montreal Berlin Cairo Toledo Seville Geneva Trieste Warsaw Antwerp Beirut Oslo "
        "Dublin"
    ),
    "coast": (
        "Brightwater Marrowbay Saltmarsh Gullhaven Thornsea Penhallow Driftmouth Kestrelcove "
        "Ashport Lowtide Whitcombe Sandwick Merrowby Foxpoint Wexmoor Tidewell Harrowsea "
        "Lantern-Bay Inchmere Stillwater"
    ),
    "frontier": (
        "Abilene Dry-Creek Coldwater Red-Bluff Laramie Cedar-Falls Dustfield Amarillo Hollowbrook "
        "Nevada Wyoming Pine-Ridge Montana Graybull Tombrook Copperville Elkhorn Millford Dakota "
        "Burntwood"
    ),
    "space": (
        "Callisto Ganymede Titan Vega Europa Proxima Ceres Kepler Andara Tau-Nine Phobos Oberon "
        "Triton Calderon Rhea Ixion Sedna Halcyon Meridian-Six Arcturus"
    ),
    "realm": (
        "Eldermoor Ravenmere Ysmir Thornwood Calladan Wintermarch Mistmere Orrin Duskfall Valoria "
        "Greymarch Silverfen Kaldor Amberglen Nightfen Hollowmere Starfell Oakenreach Emberlyn "
        "Quillhaven"
    ),
    "jungle": (
        "Yucatan Borneo Zanzibar Peru Sumatra Cusco Luxor Bengal Manaus Petra Angkor Samarkand "
        "Timbuktu Palenque Ceylon Madagascar Nairobi Kathmandu Cartagena Marrakesh"
    ),
    "battle": (
        "Normandy Verdun Tobruk Ypres Anzio Arnhem Crete Malta Leningrad Narvik Manila Gallipoli "
        "Warsaw Ardennes Saigon Sicily Burma Flanders Dunmore Calais"
    ),
    "wild": (
        "Patagonia Alaska Serengeti Svalbard Kamchatka Galapagos Borneo Namibia Antarctica Tasmania "
        "Siberia Okavango Iceland Yukon Amazonia Himalaya Lapland Labrador Sahara Palau"
    ),
}
MOODS = {
    "dark": "Ashes Shadows Lies Dust Smoke Bone Ruin Glass Thorns Secrets Whispers Midnight",
    "light": "Sugar Honey Laughter Spring Buttons Confetti Marmalade Sunshine Mischief Cinnamon Roses",
    "epic": "Iron Storms Fire Kings Thunder Steel Glory Giants Embers Vengeance Legends Courage",
    "soft": "Rain Autumn Memory Grace Paper Longing Winter Salt Mercy Dust Hope Silence",
    "wild": "Ice Rain Stone Salt Feathers Light Fire Moss Sand Wind Grass Snow",
}
SHARED = {
    "names": (
        "Clara Edmund Rosalind Victor Beatrix Hugo Marguerite Silas Nadia Otto Imogen Felix Ines "
        "Barnaby Leonora Jonah Matilda Ruben Vera Caspar Adele Ezra Philippa Anton Lucia Gideon "
        "Harriet Mateo Winifred Emil Delphine Rufus Odette Tobin Yolanda Quentin Ada Leopold Sabine "
        "Walter Ottilie Milo Esther Gustav Ramona Alder Celeste Henrik Agnes Bruno Cordelia Dimitri "
        "Elspeth Florian Greta Horace Isolde Jasper Katya Lorenzo Minerva Nikolai Olympia Percival "
        "Romy Soren Tabitha Ulrich Viola Wendell Xenia Yusuf Zelda Amos Bettina Cyril Dorothea "
        "Elias Flora Ivo"
    ),
    "counts": "Two Three Four Five Six Seven Eight Nine Ten Twelve",
    "before": "After Before Beyond Behind Beneath Without Against Towards",
}
IRREGULAR = {
    "Ferryman": "Ferrymen", "Snowman": "Snowmen", "Torpedo": "Torpedoes", "Volcano": "Volcanoes",
    "Werewolf": "Werewolves",
}  # fmt: skip
NUMERALS = ("", " II", " III", " IV", " V", " VI", " VII", " VIII", " IX", " X")

# The form of a title, the list that its second word comes from, and how many films in a hundred use it.
FORMS = (
    ("The {second} {noun}", "adjectives", 26),
    ("{second} {noun}", "adjectives", 9),
    ("{second}'s {noun}", "names", 13),
    ("The {second} {noun}", "places", 12),
    ("{a} {noun} {at} {second}", "places", 9),
    ("The {noun} of {second}", "places", 7),
    ("{noun} of {second}", "moods", 7),
    ("The {noun} and the {second}", "nouns", 7),
    ("{second} the {noun}", "before", 5),
    ("{second} {nouns}", "counts", 5),
)


class Titled(NamedTuple):
    """The titles of a catalogue, and which films are sequels.

    Attributes:
        titles: n distinct strings.
        first: (n,) the film that began the series, the film itself where it stands alone.
        part: (n,) 0 for a first film, 1 for "II", 2 for "III" ….
    """

    titles: list[str]
    first: np.ndarray
    part: np.ndarray


def titled(kinds: np.ndarray, sequels: np.ndarray, rng: np.random.Generator) -> Titled:
    """Name every film, given its row in `KINDS` (n,) and whether it continues the last one of its kind (n,).

    Where more films of a kind are asked for than its words make titles, the rest are sequels too.
    """
    made, first, part = [""] * len(kinds), np.arange(len(kinds)), np.zeros(len(kinds), np.int32)
    taken: set[str] = set()
    for row, kind in enumerate(KINDS):
        fresh = (title for title in _bases(kind, rng) if title not in taken)
        series: list[tuple[str, list[int]]] = []
        latest = again = 0
        for film in np.flatnonzero(kinds == row).tolist():
            if not (series and sequels[film]):
                if title := next(fresh, None):
                    taken.add(title)
                    latest = len(series)
                    series.append((title, []))
                else:
                    latest, again = again % len(series), again + 1
            title, films = series[latest]
            films.append(film)
            first[film], part[film] = films[0], len(films) - 1
            made[film] = title + _numeral(len(films) - 1)
    return Titled(made, first, part)


def _numeral(part: int) -> str:
    return NUMERALS[part] if part < len(NUMERALS) else f" {part + 1}"


def _bases(kind: Kind, rng: np.random.Generator) -> Iterator[str]:
    """All titles that a kind's words make, in a random order in which every form has its share."""
    lists = {"adjectives": kind.adjectives, "nouns": kind.nouns}
    shared = SHARED | {"places": PLACES[kind.places], "moods": MOODS[kind.mood]}
    lists |= {name: [word.replace("-", " ") for word in words.split()] for name, words in shared.items()}
    combined = [
        (form, noun, second, percent / len(lists[name]))
        for form, name, percent in FORMS
        for noun in kind.nouns
        for second in lists[name]
        if noun != second
    ]
    at = "on" if kind.places == "space" else "in"
    keys = rng.exponential(size=len(combined)) / [share for *_, share in combined]
    for place in np.argsort(keys, kind="stable"):
        form, noun, second, _ = combined[place]
        yield _worded(form, noun, second, at)


def _worded(form: str, noun: str, second: str, at: str) -> str:
    article = "An" if noun.startswith(("A", "E", "I", "O", "Um", "Under", "Up", "Hourglass")) else "A"
    return form.format(noun=noun, nouns=_plural(noun), second=second, a=article, at=at)


def _plural(noun: str) -> str:
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh")) else "s")
