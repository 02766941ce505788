"""Names of languages as files of captions carry them."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Codes of ISO 639-1, of ISO 639-2 where there are such, and the English name; after those, what
# else is met with: a code that YouTube writes, languages without a code of two letters, and tags
# that name no language.
_LANGUAGES = """
aa aar Afar; ab abk Abkhazian; ae ave Avestan; af afr Afrikaans; ak aka Akan;
am amh Amharic; an arg Aragonese; ar ara Arabic; as asm Assamese; av ava Avaric;
ay aym Aymara; az aze Azerbaijani; ba bak Bashkir; be bel Belarusian; bg bul Bulgarian;
bi bis Bislama; bm bam Bambara; bn ben Bengali; bo bod tib Tibetan; br bre Breton;
bs bos Bosnian; ca cat Catalan; ce che Chechen; ch cha Chamorro; co cos Corsican;
cr cre Cree; cs ces cze Czech; cu chu; cv chv Chuvash; cy cym wel Welsh; da dan Danish;
de deu ger German; dv div Divehi; dz dzo Dzongkha; ee ewe Ewe; el ell gre Greek;
en eng English; eo epo Esperanto; es spa Spanish; et est Estonian; eu eus baq Basque;
fa fas per Persian; ff ful Fulah; fi fin Finnish; fj fij Fijian; fo fao Faroese;
fr fra fre French; fy fry Frisian; ga gle Irish; gd gla Gaelic; gl glg Galician;
gn grn Guarani; gu guj Gujarati; gv glv Manx; ha hau Hausa; he heb Hebrew; hi hin Hindi;
ho hmo; hr hrv Croatian; ht hat Creole; hu hun Hungarian; hy hye arm Armenian;
hz her Herero; ia ina Interlingua; id ind Indonesian; ie ile Interlingue; ig ibo Igbo;
ii iii; ik ipk Inupiaq; io ido Ido; is isl ice Icelandic; it ita Italian; iu iku Inuktitut;
ja jpn Japanese; jv jav Javanese; ka kat geo Georgian; kg kon Kongo; ki kik Kikuyu;
kj kua Kuanyama; kk kaz Kazakh; kl kal Kalaallisut; km khm Khmer; kn kan Kannada;
ko kor Korean; kr kau Kanuri; ks kas Kashmiri; ku kur Kurdish; kv kom Komi; kw cor Cornish;
ky kir Kyrgyz; la lat Latin; lb ltz Luxembourgish; lg lug Ganda; li lim Limburgish;
ln lin Lingala; lo lao Lao; lt lit Lithuanian; lu lub; lv lav Latvian; mg mlg Malagasy;
mh mah Marshallese; mi mri mao Maori; mk mkd mac Macedonian; ml mal Malayalam;
mn mon Mongolian; mr mar Marathi; ms msa may Malay; mt mlt Maltese; my mya bur Burmese;
na nau Nauru; nb nob Bokmål; nd nde; ne nep Nepali; ng ndo Ndonga; nl nld dut Dutch;
nn nno Nynorsk; no nor Norwegian; nr nbl; nv nav Navajo; ny nya Chichewa; oc oci Occitan;
oj oji Ojibwa; om orm Oromo; or ori Odia; os oss Ossetian; pa pan Punjabi; pi pli Pali;
pl pol Polish; ps pus Pashto; pt por Portuguese; qu que Quechua; rm roh Romansh;
rn run Rundi; ro ron rum Romanian; ru rus Russian; rw kin Kinyarwanda; sa san Sanskrit;
sc srd Sardinian; sd snd Sindhi; se sme; sg sag Sango; si sin Sinhala; sk slk slo Slovak;
sl slv Slovenian; sm smo Samoan; sn sna Shona; so som Somali; sq sqi alb Albanian;
sr srp Serbian; ss ssw Swati; st sot; su sun Sundanese; sv swe Swedish; sw swa Swahili;
ta tam Tamil; te tel Telugu; tg tgk Tajik; th tha Thai; ti tir Tigrinya; tk tuk Turkmen;
tl tgl Tagalog; tn tsn Tswana; to ton Tonga; tr tur Turkish; ts tso Tsonga; tt tat Tatar;
tw twi Twi; ty tah Tahitian; ug uig Uyghur; uk ukr Ukrainian; ur urd Urdu; uz uzb Uzbek;
ve ven Venda; vi vie Vietnamese; vo vol Volapük; wa wln Walloon; wo wol Wolof; xh xho Xhosa;
yi yid Yiddish; yo yor Yoruba; za zha Zhuang; zh zho chi Chinese; zu zul Zulu; iw; ast; ceb;
cmn Mandarin; fil Filipino; gsw; haw; hmn; mis; mul; nds; und; yue Cantonese; zxx
"""
_OTHER_NAMES = {"brazilian": "pt", "castilian": "es", "farsi": "fa"}
# Beside a language's name: "Latin American Spanish", "Chinese (Simplified)".
# fmt: off
_QUALIFIERS = frozenset({
    "american", "brazil", "british", "canada", "canadian", "european", "latin", "simplified",
    "traditional", "uk", "us",
})
# fmt: on

# The last part is what YouTube's identifiers of tracks look like.
_TAG = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]{2,8})*(?:-[\w-]{11})?")
_WORD = re.compile(r"[^\W_]+")


def _known() -> tuple[frozenset[str], Mapping[str, str]]:
    """Return all codes, and the shortest code by each name."""
    codes: set[str] = set()
    names = dict(_OTHER_NAMES)
    for row in _LANGUAGES.split(";"):
        words = row.split()
        codes |= {word for word in words if word.islower()}
        names |= {word.lower(): words[0] for word in words if not word.islower()}
    return frozenset(codes), names


CODES, NAMES = _known()


def language_tag(text: str, remarks: frozenset[str] = frozenset()) -> str | None:
    """Return the tag of a language (as in BCP 47) that a part of a name is; None where it is none.

    remarks: further words, in lower case, that a language's name may have beside it.

    >>> language_tag("en_US"), language_tag("English (UK)"), language_tag("mkv")
    ('en-US', 'en', None)
    """
    tag = _TAG.fullmatch(text)
    if tag is not None and tag[1].lower() in CODES:
        return text.replace("_", "-")
    named = None
    for word in _WORD.findall(text.lower()):
        if word in NAMES:
            named = NAMES[word]
        elif word not in _QUALIFIERS and word not in remarks:
            return None
    return named
