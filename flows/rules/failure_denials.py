"""
What a sentence denies: `card not blocked` and `stolen card: no` say nothing about blocking or theft.

Whether a hard decline is denied depends on what stands directly before it (`no suspected fraud`) or behind it
(`fraud suspected: false`). A reason that contains its own negation (`no such card`, `no valid mandate`) stays.
"""

import re

from flows.rules.failure_hard_words import any_of
from flows.rules.failure_words import HARD_DECLINE

_BAD = (
    r"(lost|stolen|blocked|restricted|closed|expired|revoked|cancell?ed|deceased|dead|suspended|locked|frozen|declined|"
    r"refused|rejected|fraud\w*|suspicious|invalid|deleted|deactivated|terminated|withdrawn|removed|detached|missing|"
    r"inactive|dormant|transferred|disputed|stopped|wrong|incorrect)"
)
_STEP = r"(authentication|authori[sz]ation|action|confirmation|sca|3-?ds?\d?)"
_EXTRA = r"( further| additional| any| user| customer| strong| 3-?d ?s\w*| sca)*"
_CHECKS_OF = r"fraud|risk|3-?d[ -]?s\w*|avs|cvc|cvv2?|sca"
_CHECKED = r"(check|checks|screening|review|result|authentication|verification|validation)"
_WELL = r"(passed|ok|okay|green|successful|succeeded|accepted|clear|completed)"
_NOT_SO = r"(not|never|isn't|wasn't|hasn't been|haven't been|nor|neither)"
_NAMED = r"( suspected| considered| reported| marked| flagged| listed)?( as| to be| of)?"
_WHY = (
    r"( be| been| a| an| any| the| as| of| to| due| because| for| other"
    r"| signs?| indication| evidence| reports?| suspicion)*"
)
_STATED = re.compile(
    any_of(
        # "no authentication required", "authentication is not required"
        rf"\bno{_EXTRA} {_STEP}\b( is| was| being)?( required| needed| necessary)?",
        rf"\b{_STEP}( by the \w+)?( is| was)?( not|n't) (required|needed|necessary|requested)",
        rf"\bdo(es)? not require{_EXTRA} {_STEP}",
        # "fraud check passed", "3DS authentication succeeded"
        rf"\b({_CHECKS_OF})?[ -]?{_CHECKED}( has| have| was| were| is)?( been)?[: ]+{_WELL}\b",
        # "card not blocked", "was never reported stolen", "no fraud suspected"
        rf"\b{_NOT_SO}( yet| been| be)*( a| an| any)?{_NAMED} {_BAD}( or {_BAD})*( card| account)?\b",
        rf"\bno{_NAMED} {_BAD}( or {_BAD})+( card| account)?\b",
        rf"\b(no|not|never|without){_WHY}( suspected| possible| potential| acquirer| issuer)*"
        r" fraud\w*( suspected| suspicion| detected| found)?",
        r"\bfraud (not|was not|is not) (suspected|detected|found)",
    ),
    re.IGNORECASE,
)

_OPEN = re.compile(
    r"((\bnot|n't|\bunable to|\bfailed to) (verify|confirm|check|determine|tell|establish|say|known|certain|clear)"
    r"|\bno (sign|indication|evidence|proof|suspicion|report|reason to believe)s?)"
    r" (that|if|whether)\b[^.;:,]*",
    re.IGNORECASE,
)
"""`could not verify that the card is stolen`, `no evidence that the card is stolen`: what follows is open."""

_BEFORE = re.compile(rf"(\b(no|not|never|without|nor|neither|cannot)|n't){_WHY}\s*$", re.IGNORECASE)
_FIELD = re.compile(
    r"(?P<said>[^\n.;:,=?(){}\[\]|]{1,100})(?:[:=?]\s*| - (?=no|false))"
    r"(?:no|none|false|n|0|nil|null|n/a|negative|nein|keine?r?|non|nao|nee|geen|nessun[oa]?|aucune?|ningun[oa]?"
    r"|nenhuma?|falso|falsch|nej|nei|nie|нет)(?=\W*$|\s*[.;,)}\]|\n]|\s+-)",
    re.IGNORECASE,
)
_REST = re.compile(
    r"\w*(\W*\b(or|and|nor|suspected|reported|detected|found|required|needed|by|the|issuer|bank|customer|card|account"
    r"|transaction|payment|flag|indicator))*\W*",
    re.IGNORECASE,
)
"""What may stand between a reason and the value that denies it: `closed account, retry: no` denies no closing."""

_NEAR = 60
"""How many characters before a reason are searched for a negation."""


def without_denials(text: str) -> str:
    """A phrase without what it denies, in English."""
    return without_denied(_OPEN.sub(r"\1 ", _STATED.sub(" ", text)), HARD_DECLINE.pattern, _BEFORE)


def without_denied(text: str, hard: re.Pattern[str], before: re.Pattern[str]) -> str:
    """A phrase without the reasons in `hard` that a field with the value `no`, or `before` in front of them, denies."""
    kept = _FIELD.sub(lambda field: _undenied_field(field, hard), text)
    for found in reversed(list(hard.finditer(kept))):
        negation = before.search(kept[max(0, found.start() - _NEAR) : found.start()])
        if negation:
            kept = kept[: found.start() - len(negation[0])] + " " + kept[found.end() :]
    return kept


def _undenied_field(field: re.Match[str], hard: re.Pattern[str]) -> str:
    said, denied = field["said"], False
    for reason in reversed(list(hard.finditer(said))):
        if not _REST.fullmatch(said[reason.end() :]):
            break
        said, denied = said[: reason.start()], True
    return said if denied else field[0]
