"""The vocabulary of an invented movie catalog: kinds of movies, each with genres, years and words."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of movie.

    Attributes:
        genres: one to three genres, the main one first.
        years: the first and the last year of release.
        share: the relative number of movies.
        places: the key of `PLACES`.
        mood: the key of `MOODS`.
        adjectives, nouns: words of titles.
    """

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
