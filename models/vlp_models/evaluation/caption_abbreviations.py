"""Words that keep the full stop behind them when captions are split, as Stanford CoreNLP 3.4.1 keeps it."""

from __future__ import annotations

_CALENDAR = "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri"
_STATES = (
    "ala ariz calif colo conn ct dak fla ga ind kan kans ky md mich minn mo mont neb nev okla penn tenn va vt wis wisc "
    "wyo"
)
_COMPANIES = "inc co cos corp ltd plc bancorp assn univ intl natl mfg mtg elec dept treas bros"
_TITLES = (
    "mr mrs ms dr drs prof profs sen sens rep reps lt lieut col gen messrs gov govs adm rev maj sgt cpl pvt capt pres "
    "hon brig comdr pfc spc supt supts det adj adv asst assoc ens insp mlle mme msgr sfc sr jr esq ed.d ph ph.d"
)
_PLACES = "st ste ave blvd rd rt mt ft bldg"
_OTHERS = "etc al seq vs cf cie alex wm jos tel est ext sq"

ABBREVIATIONS = tuple(" ".join((_CALENDAR, _STATES, _COMPANIES, _TITLES, _PLACES, _OTHERS)).split())
"""Of any case."""
CAPITAL_ABBREVIATIONS = ("Az", "Ark", "Del", "Ill", "La", "Mass", "Miss", "Ore", "Pa", "Tex", "Wash")
"""These only where they begin with a capital letter: "ill." ends a sentence."""
NUMBER_ABBREVIATIONS = ("ca", "fig", "figs", "prop", "no", "nos", "art", "pp", "op")
"""These only before a digit: "no. 5"."""
_BEGINNINGS = (
    "About According Additionally After An A As At But Did During Earlier He Her Here How However If In It Last Many "
    "More Mr. Ms. Now Once One Other Our She Since So Some Such That The Their Then There These They This We What When "
    "While Who Why Yet You"
)
SENTENCE_BEGINNINGS = tuple(_BEGINNINGS.split())
"""Before these the full stop behind a single letter ends a sentence."""
