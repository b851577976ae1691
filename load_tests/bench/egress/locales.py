"""Twenty locales: how people write about themselves, and what they write when they do not. Sentences that a value is planted into, and others."""

import msgspec


class Locale(msgspec.Struct, frozen=True):
    """`birth` has the date's form in strftime's letters; `schemes` are the identifiers that are used there."""

    region: str
    fillers: tuple[str, ...]
    phone: tuple[str, ...]
    email: str
    card: str
    born: str
    birth: str
    schemes: tuple[str, ...]


LOCALES: dict[str, Locale] = {
    "en_US": Locale("US", ("The parcel came on Tuesday and one box was open.", "We will look at it in version 3.2 of the form."), ("Please call me at {} after five.", "My phone number is {}."), "Write to {} if anything is unclear.", "I paid with my card {} last week.", "I was born on {} in Ohio.", "%m/%d/%Y", ("us.ssn",)),
    "en_GB": Locale("GB", ("The lift has been out of order since Monday.", "Order 48213 arrived with two of the three chairs."), ("Ring me on my mobile, {}, please.", "Tel: {}"), "My email is {}.", "Card number: {}", "Date of birth: {}", "%d/%m/%Y", ("gb.nhs", "ie.pps")),
    "de_DE": Locale("DE", ("Das Paket kam am Dienstag an, ein Karton war offen.", "Bitte prüfen Sie den Vorgang noch einmal."), ("Sie erreichen mich telefonisch unter {}.", "Tel. {} (abends)"), "Schreiben Sie mir an {}.", "Bezahlt habe ich mit der Karte {}.", "geboren am {} in Köln", "%d.%m.%Y", ("de.idnr", "at.vnr", "ch.ssn")),
    "fr_FR": Locale("FR", ("Le colis est arrivé mardi, un carton était ouvert.", "Merci de vérifier encore une fois."), ("Mon téléphone est le {}.", "Appelez-moi au {} s’il vous plaît."), "Mon adresse : {}.", "J’ai payé avec la carte {}.", "née le {} à Lyon", "%d/%m/%Y", ("fr.nir",)),
    "es_ES": Locale("ES", ("El paquete llegó el martes y una caja estaba abierta.", "Por favor, revisen el pedido otra vez."), ("Mi teléfono es {}.", "Llámame al móvil {} por la tarde."), "Mi correo es {}.", "Pagué con la tarjeta {}.", "Fecha de nacimiento: {}", "%d/%m/%Y", ("es.dni", "es.nie", "cl.rut", "ar.cuit")),
    "it_IT": Locale("IT", ("Il pacco è arrivato martedì e una scatola era aperta.", "Controllate ancora una volta, per favore."), ("Il mio telefono è {}.", "Chiamatemi al cellulare {}."), "Scrivetemi a {}.", "Ho pagato con la carta {}.", "nata il {} a Torino", "%d/%m/%Y", ("it.codicefiscale",)),
    "pt_BR": Locale("BR", ("O pacote chegou na terça e uma caixa estava aberta.", "Por favor, verifiquem o pedido mais uma vez."), ("Meu telefone é {}.", "Ligue no celular {} à noite."), "Meu e-mail: {}.", "Paguei com o cartão {}.", "Data de nascimento: {}", "%d/%m/%Y", ("br.cpf", "pt.nif")),
    "nl_NL": Locale("NL", ("Het pakket kwam dinsdag en een doos was open.", "Wilt u de bestelling nog eens nakijken?"), ("Mijn telefoonnummer is {}.", "Bel mij op mobiel {}."), "Mail mij op {}.", "Betaald met kaart {}.", "geboren op {} te Utrecht", "%d-%m-%Y", ("nl.bsn", "be.nn")),
    "sv_SE": Locale("SE", ("Paketet kom i tisdags och en låda var öppen.", "Var snäll och titta en gång till."), ("Min telefon är {}.", "Ring mig på mobilen {}."), "Skriv till {}.", "Jag betalade med kortet {}.", "född den {} i Lund", "%Y-%m-%d", ("se.personnummer", "no.fodselsnummer", "dk.cpr")),
    "pl_PL": Locale("PL", ("Paczka przyszła we wtorek, jedno pudełko było otwarte.", "Proszę sprawdzić to jeszcze raz."), ("Mój telefon to {}.", "Proszę dzwonić na numer komórkowy {}."), "Mój adres: {}.", "Zapłaciłam kartą {}.", "urodzona {} w Gdańsku", "%d.%m.%Y", ("pl.pesel",)),
    "cs_CZ": Locale("CZ", ("Balík přišel v úterý a jedna krabice byla otevřená.", "Prosím, podívejte se na to znovu."), ("Můj telefon je {}.", "Volejte na mobil {}."), "Pište na {}.", "Platil jsem kartou {}.", "Datum narození: {}", "%d. %m. %Y", ("cz.rc",)),
    "fi_FI": Locale("FI", ("Paketti tuli tiistaina ja yksi laatikko oli auki.", "Tarkistakaa asia vielä kerran."), ("Puhelinnumeroni on {}.", "Soita minulle numeroon {}."), "Kirjoita osoitteeseen {}.", "Maksoin kortilla {}.", "syntynyt {} Turussa", "%d.%m.%Y", ("fi.hetu", "ee.ik", "lt.asmens")),
    "tr_TR": Locale("TR", ("Paket salı günü geldi, bir kutu açıktı.", "Lütfen siparişi bir kez daha kontrol edin."), ("Telefonum {}.", "Beni {} numaralı cep telefonundan arayın."), "E-posta adresim {}.", "{} numaralı kartla ödedim.", "Doğum tarihi: {}", "%d.%m.%Y", ("tr.tckimlik",)),
    "ru_RU": Locale("RU", ("Посылка пришла во вторник, одна коробка была открыта.", "Пожалуйста, проверьте заказ ещё раз."), ("Мой телефон {}.", "Позвоните мне по номеру {}."), "Пишите на {}.", "Я оплатил картой {}.", "Дата рождения: {}", "%d.%m.%Y", ("ru.inn", "ru.snils")),
    "uk_UA": Locale("UA", ("Посилка прийшла у вівторок, одна коробка була відкрита.", "Будь ласка, перевірте ще раз."), ("Мій телефон {}.", "Подзвоніть мені на мобільний {}."), "Пишіть на {}.", "Я сплатила карткою {}.", "Дата народження: {}", "%d.%m.%Y", ("ua.rntrc", "bg.egn")),
    "el_GR": Locale("GR", ("Το δέμα ήρθε την Τρίτη και ένα κουτί ήταν ανοιχτό.", "Παρακαλώ ελέγξτε ξανά την παραγγελία."), ("Το τηλέφωνό μου είναι {}.", "Πάρτε με στο κινητό {}."), "Γράψτε μου στο {}.", "Πλήρωσα με την κάρτα {}.", "γεννήθηκε στις {}", "%d/%m/%Y", ("gr.amka",)),
    "ar_EG": Locale("EG", ("وصل الطرد يوم الثلاثاء وكان أحد الصناديق مفتوحا.", "يرجى مراجعة الطلب مرة أخرى."), ("رقم هاتفي {} .", "اتصل بي على الجوال {} ."), "راسلني على {} .", "دفعت بالبطاقة {} .", "تاريخ الميلاد: {}", "%d/%m/%Y", ("il.idnr",)),
    "hi_IN": Locale("IN", ("पार्सल मंगलवार को आया और एक डिब्बा खुला था।", "कृपया ऑर्डर फिर से देखें।"), ("मेरा फ़ोन नंबर {} है।", "मेरा मोबाइल {} है।"), "मेरा ईमेल {} है।", "मैंने कार्ड {} से भुगतान किया।", "जन्म तिथि: {}", "%d/%m/%Y", ("in_.aadhaar", "in_.pan")),
    "ja_JP": Locale("JP", ("荷物は火曜日に届き、箱が一つ開いていました。", "もう一度ご確認ください。"), ("電話番号は{}です。", "携帯 {} までお願いします。"), "メールは {} です。", "カード{}で支払いました。", "生年月日:{}", "%Y年%m月%d日", ("jp.in_",)),
    "zh_CN": Locale("CN", ("包裹星期二到了，有一个箱子是开着的。", "请再检查一次订单。"), ("我的电话是{}。", "请拨打手机 {} 联系我。"), "我的邮箱是 {} 。", "我用卡{}付款。", "出生日期：{}", "%Y年%m月%d日", ("cn.ric",)),
    "ko_KR": Locale("KR", ("소포는 화요일에 왔고 상자 하나가 열려 있었습니다.", "주문을 다시 확인해 주세요."), ("제 전화번호는 {} 입니다.", "휴대폰 {} 으로 연락 주세요."), "이메일은 {} 입니다.", "카드 {} 로 결제했습니다.", "생년월일: {}", "%Y-%m-%d", ("kr.rrn",)),
}  # fmt: skip
