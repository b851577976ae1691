"""Words, in several languages, beside which a plain number is a phone number, a card, an identifier or a birth date. Pure."""

import functools
import re

from cells.egress.scanner.patterns import Pattern
from cells.egress.scanner.shapes import first_digit

GAP_BYTES_MAX = 72
"""Between a word and the first digit of what it announces; letters of some scripts are three bytes each."""
WORD_BYTES_MAX = 32
REMEMBERED = 4096
"""Texts before numbers, of at most GAP_BYTES_MAX and WORD_BYTES_MAX each, of which it is remembered what they announce."""

PHONE = (
    r"\b(?:tel|fon|fax|mob|gsm|hp|tlf|telf|tfno|telp|tél)(?:\b|_)|_(?:tel|fon|fax|mob|gsm)(?:\b|_)|\b(?:my|her|his|your|work) cell\b|\bcell (?:no|number)\b|phone|telefon|telefoon|teléfono"
    r"|telefone|téléphone|telephone|t[eé]l[eé]f|móvil|celular|cellulare|cellphone|\bportable\b|\bmobi[el]|bel (?:mij|me)|puhelin|telefón|telefón|matkapuhelin"
    r"|gsm|komórk|msisdn|whatsapp|viber|\bsms\b|hotline|rufnummer|handy|call (?:me|us|him|her|them|back)|ring me|reach (?:me|us) (?:at|on)"
    r"|text me|appelez|rufen sie|ll[aá]m[ae]|ligue|chiam[aie]|zadzwoń|dzwoń|ring (?:mig|meg)|\bsoita|\bara(?:yın|yin)\b|телефон|тел\."
    r"|моб\.|мобил|звон|дзвон|τηλ|κιν\.|κινητ|הטלפון|טלפון|נייד|התקשר|هاتف|جوال|تلفون|موبايل|اتصل|تلفن|فون|फ़ोन|फोन|मोबाइल|कॉल|電話|携帯"
    r"|でんわ|电话|電郵|手机|手機|致电|전화|휴대폰|연락처|핸드폰|โทร|มือถือ|điện thoại|số đt|\bsđt\b|gọi|hubungi|telepon|ponsel"
)
CARD = (
    r"\bcards?(?:\b|_)|_card|card_?n|\bpan(?:\b|_)|credit|debit|visa|mastercard|maestro|unionpay|amex|karte|carte|tarjeta|cart[aã]o|carta di"
    r"|\bkort|kaart|kart[ay]|\bkart|kortti|карт|κάρτα|カード|卡|카드|kartu|thẻ|بطاق|כרטיס|कार्ड|บัตร"
)
IDENTIFIER = (
    r"(?:\b|_)(?:ssn|(?-i:SIN)|nino|nhs|nif|nie|dni|cpf|curp|rfc|cuit|cuil|rut|pesel|cnp|egn|oib|bsn|nir|nss|insee|niss|inss|rrn|amka|ahv|avs"
    r"|cpr|hetu|tfn|ird|pps|ppsn|nik|ktp|nric|mykad|cnic|inn|snils|rnokpp|emso|emšo|jmbg|tckn|pan|tin|itin|hkid|svnr"
    r"|isikukood|kennitala)(?:\b|_)|social.?security|social.?insurance|national.?(?:id|ident|insur|number)|identity.?(?:number|no|card)"
    r"|(?:personal|citizen|resident).{0,9}(?:id|number|code|no\b)|id.?(?:number|card)|tax.?(?:id|file|number|payer)|taxpayer|health.?number|aadhaar|aadhar"
    r"|steuer|sozialvers|personalausw|identnummer|identifikation|ausweis|s[eé]curit[eé] soc|sécu\b|num[eé]ro (?:fiscal|national|de s)|identit|identidad|identifica"
    r"|c[eé]dula|fiscal[e]?|identidade|burgerservice|rijksregister|personnummer|personnr|fødselsnummer|fodselsnummer|cpr.?n|henkilötunnus|henkilotunnus"
    r"|rodn[eéý]|asmens|personas kods|isiku|osobn|matičn|buletin|cod numeric|egészség|személyi|adóazonosító|taj|kimlik|vatandaş|снилс|инн|паспорт"
    r"|идентиф|личен|егн|єдр|рнокпп|іпн|код платника|αμκα|ταυτότητα|αφμ|תעודת זהות|ת\.ז|مرز|هوية|هویت|قومي|ملی|आधार|पहचान|身份证|身份證|身分證|証明号|マイナンバー"
    r"|個人番号|주민등록|주민번호|บัตรประชาชน|ประจำตัว|căn cước|cmnd|cccd|induk|kependudukan|pengenalan"
)
IDENTIFIER_BEFORE_DIGIT = r"personal|citizen|resident|(?:social|national|identity|id|tax|health|cpr)[0-9]\z"
"""Beginnings of such words that may go on with a digit: a text up to that digit does not show the word."""
BIRTH = (
    r"\bborn\b|birth|(?:\b|_)d\.?o\.?b\.?(?:\b|_)|\bgeb\.|geboren|geburt|geboorte|\bn[ée]e? le\b|naissance|nacid[oa]|nacimiento|\bnat[oa] il|nascita|\bnascid"
    r"|nascimento|född|födelse|født|fødsels|fødd|syntynyt|syntymä|urodz|narozen|naroden|narodil|rođen|rojen|szület|născut|nașter|nasterii|γεννή|γέννησ|роди[лв]"
    r"|рожд|народж|народи|роден|doğum|doğdu|נולד|לידה|ميلاد|مواليد|ولد في|تولد|जन्म|出生|生年月日|生日|誕生日|생년월일|출생|생일|เกิด|ngày sinh|sinh ngày|lahir|sündi|dzimš|gimim"
)


def _any(words: str) -> str:
    """The words in any case, a space in one of them perhaps an underscore, and the number of one of several (`phone_2`, `Tel. 1:`)."""
    return rf"(?i)(?:{words.replace(' ', '[ _]')})(?:_?[0-9](?:\b|_)|[ ][0-9]:)?"


class Words:
    """Tells whether one of these words stands near before a number of a form.

    Between the two the pattern takes whatever is no digit, however long, so that it costs no states; `near` measures the gap.
    """

    def __init__(self, words: str, announced: str) -> None:
        """`announced`: how the number begins, from its first digit on; in ASCII."""
        self.words = _any(words)
        self.form = re.compile(announced.encode())
        self.pattern = rf"{self.words}[^0-9\n]*{announced}"
        self._word = Pattern(self.words)
        # The same keys stand in every line of a log, and before every value of a column.
        self._gap = functools.lru_cache(REMEMBERED)(self._gap_of)

    def near(self, data: bytes, start: int, end: int) -> tuple[int, bytes] | None:
        """Where the number of a match begins, and what stands between it and the last word before it: GAP_BYTES_MAX at most, no digit, no
        other key. None without such a word."""
        digit = first_digit(data, start, end)
        if not data[digit + 1 : digit + 2].isdigit() and (word := self._word.end_at(data, start)) >= 0:
            digit = first_digit(data, word, end)
        low = max(start, digit - GAP_BYTES_MAX - WORD_BYTES_MAX)
        begin = 1 if low else 0
        gap = self._gap(data[low - begin : digit + 1], begin)
        return None if gap is None else (digit, gap)

    def silent(self, text: bytes, begin: int) -> bool:
        """Whether no word that begins in a text from an offset on announces the number whose first digit the text ends with; a second digit
        follows that one."""
        low = max(begin, len(text) - 1 - GAP_BYTES_MAX - WORD_BYTES_MAX)
        before = 1 if low else 0
        return self._gap(text[low - before :], before) is None

    def _gap_of(self, text: bytes, begin: int) -> bytes | None:
        """What stands between the last word and the digit that a text ends with; None where that is too much, or speaks of another thing.
        The bytes at both ends are there for what they say of a word's edges."""
        last, digit = None, len(text) - 1
        for _, stop in self._word.all(text, begin, digit):
            last = stop
        if last is None or digit - last > GAP_BYTES_MAX:
            return None
        gap = text[last:digit]
        return None if _DIGIT.search(gap) or _OTHER_KEY.search(gap) else gap


_DIGIT = re.compile(rb"[0-9]")
_OTHER_KEY = re.compile(rb"[=:]\s{0,4}[\"']?\w{1,40}[\"']?[\s,;&]{1,4}[\"']?\w{1,40}[\"']?\s{0,4}[=:]")
"""`phone_verified=true cards_total=` speaks of another thing when the number comes."""
