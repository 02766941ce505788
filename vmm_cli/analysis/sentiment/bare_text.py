"""Text that carries no feeling: addresses, names of files, sizes, credits, test cards.

A network that learnt from reviews rates `www.best-prices.com` as pleasant, and VADER a credit to
somebody whose name is Joy. Neither says how a video feels, and that nothing is felt is not known
either: such text is left out before anything reads it.
"""

from __future__ import annotations

import re

from vmm_cli.features.text_valence import known_words

# The commonest of top-level domains and of suffixes: a full stop without a space is no address.
_DOMAINS = r"com|org|net|edu|gov|info|biz|tv|eu|co\.uk|ac\.uk|org\.uk|de|fr"
_SUFFIXES = (
    r"3gp|aac|avi|bmp|csv|docx?|flac|flv|gif|html?|jpe?g|json|m2ts|m4[av]|mkv|mov|mp[34]|mpe?g|mts|"
    r"mxf|ogg|ogv|opus|pdf|png|prproj|psd|srt|tiff?|ts|txt|vob|vtt|wav|webm|webp|wm[av]|xml|zip"
)
# Of a word between spaces, without punctuation around it.
_ADDRESS = re.compile(
    rf"""(?ix) (?:https?|ftp|rtsp|file)://.+ | www\..+
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+
    | (?:[\w-]+\.)+(?:{_DOMAINS})(?:[/?:].*)?
    | .+\.(?:{_SUFFIXES})"""
)
_AROUND = "\"'()[]{}<>,;:!?.\u2018\u2019\u201c\u201d\u2026"
_LONGEST_WORD = 100  # characters; no English word is longer, and patterns are tried on no more
_WORD = re.compile(r"[^\W\d_]{2,}|\b[IAia]\b")
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026])\s+")

_LONGEST_CREDIT = 200  # characters of a line
_NAMES = r"(?:(?:[A-Z0-9][\w.'\u2019-]*|and|of|the|&|\+)(?:[\s,/|]+|$)){1,12}$"
_MADE = (
    r"directed|produced|written|edited|filmed|shot|photographed|narrated|presented|translated|"
    r"adapted|composed|performed|designed|animated|mixed|subtitled|captioned|captions?|subtitles?|"
    r"subs|music|lyrics|score|photography|cinematography|screenplay|story|costumes?|casting|"
    r"choreography|animation|sound|lighting|make-?up|special effects|powered|sponsored"
)
_STORED = r"encoded|converted|ripped|uploaded|downloaded|captured|recorded"
_ROLE = (
    r"director|producer|editor|writer|composer|narrator|translator|photographer|cameraman|"
    r"camera|starring|cast|author|artist|publisher|studio|encoder|licen[cs]e"
)
_CREDIT = re.compile(
    r"^\W*(?i:"
    rf"(?:(?:executive|associate|assistant|original|co)[\s-])?(?:{_MADE})(?:\s+(?:and|&)\s+(?:{_MADE}))?"
    rf"\s+by\b|(?:{_STORED})\s+(?:by|with|from|using)\b|starring\b|"
    rf"(?:(?:executive|associate|assistant|co)[\s-])?(?:{_ROLE})s?\s*[:\u2013-]"
    rf")[\s:]*{_NAMES}"
)
_PRESENTS = re.compile(r"^(?:[A-Z][\w.'\u2019&-]*\s+){1,5}(?i:presents?)\W*$")
_RIGHTS = re.compile(
    r"(?i)[\u00a9\u2117]|\bcopyright\b\W*(?:\(c\)|by\b|\d{4})|\(c\)\s*\d{4}|"
    r"\ball rights reserved\b|\bcreative commons\b|\blicen[cs]ed under\b|\bpublic domain\b"
)
_TEST_CARD = re.compile(
    r"(?i)\btest[\s-]*(?:cards?|patterns?|signals?|tones?|charts?|pictures?|images?|screens?)\b|"
    r"\bcolou?r[\s-]*bars?\b|\bbars and tone\b|\bcountdown leader\b|\bsmpte\b|\bebu\b"
)
_MOST_CARD_WORDS = 6  # a longer line speaks of a test card
_STREET = re.compile(
    r"\b\d+[A-Za-z]?,?\s+(?:[A-Z][\w.'\u2019-]*\s+){1,3}"
    r"(?:St(?:reet|\.)?|R(?:oa)?d\.?|Ave(?:nue|\.)?|Lane|Ln|Dr(?:ive|\.)?|B(?:ou)?l(?:e)?va?r?d\.?|"
    r"Sq(?:uare|\.)?|Court|Way|Place|Close|Terrace)(?!\w)"
)
_LOWER_WORD = re.compile(r"\b(?!and\b|of\b|the\b)[a-z]{2,}")


def with_feeling(text: str) -> str:
    """Return a text without what carries no feeling; "" where nothing else is there.

    Left out are web and mail addresses and names of files, sentences of rights, and lines: of
    credits, of test cards, of street addresses, and those with fewer words than numbers and
    addresses, or with a single one beside these, unless VADER rates it. All else stays as it is.

    >>> with_feeling("I love this place!\\nwww.best-prices.com\\n1920x1080")
    'I love this place!'
    """
    if _is_credit(" ".join(text.split())):  # over two lines
        return ""
    lines = (_felt_line(line.strip()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def title_with_feeling(text: str) -> str:
    """Return the same of a title; "" too where VADER rates no word of it: most of them name things.

    >>> title_with_feeling("Channel 4"), title_with_feeling("A lovely day")
    ('', 'A lovely day')
    """
    felt = with_feeling(text)
    return felt if felt and known_words(felt) else ""


def _felt_line(line: str) -> str:
    if not any(c.isalnum() for c in line):
        return line  # a smiley, say
    if _RIGHTS.search(line):
        kept = (part for part in _SENTENCE_END.split(line) if not _RIGHTS.search(part))
        line = " ".join(kept)
    if _is_credit(line) or _is_test_card(line) or _is_street_address(line):
        return ""
    told = [word for word in line.split() if not _is_address(word)]
    number = sum(map(_is_word, told))
    others = sum(any(map(str.isalnum, word)) for word in line.split()) - number
    felt = " ".join(told)
    # One word beside an address ("Visit ...") or among numbers is no sentence.
    is_said = 2 <= number >= others or number > others == 0
    return felt if is_said or known_words(felt) else ""


def _is_address(word: str) -> bool:
    return len(word) > _LONGEST_WORD or bool(_ADDRESS.fullmatch(word.strip(_AROUND)))


def _is_word(word: str) -> bool:
    """Tell words from sizes, times, dates, codecs, postal codes, and names that cameras give."""
    return not any(c.isdigit() or c in "_@" for c in word) and bool(_WORD.search(word))


def _is_credit(line: str) -> bool:
    if len(line) > _LONGEST_CREDIT:
        return False
    return bool(_CREDIT.search(line) or _PRESENTS.search(line))


def _is_test_card(line: str) -> bool:
    return len(line.split()) <= _MOST_CARD_WORDS and bool(_TEST_CARD.search(line))


def _is_street_address(line: str) -> bool:
    if len(line) > _LONGEST_CREDIT:
        return False
    return bool(_STREET.search(line)) and not _LOWER_WORD.search(line)
