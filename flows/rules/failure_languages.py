"""
The common reasons for a failure in Italian, German, French, Spanish, Portuguese and Dutch.

Of Danish, Norwegian, Polish and Russian it knows a few phrases that have one meaning.

Only the words listed here mean a hard decline. Other words and other languages are soft or unknown.
Patterns are compared without accents and in lower case.
"""

import re
import unicodedata

from blocks.policy import FailureClass
from flows.rules.failure_denials import without_denied
from flows.rules.failure_hard_words import any_of

_BUT = r"(?<!temporaneamente )(?<!vorubergehend )(?<!temporairement )(?<!temporalmente )"
_OVER = r"[^.;]{0,25}"

LOST = any_of(
    rf"\bcarta\b{_OVER}\b(smarrita|rubata|persa)|(smarrimento|furto) (della |di )?carta",
    rf"\bkarte\b{_OVER}\b(verloren|gestohlen|entwendet)|\b(verlorene|gestohlene) karte",
    rf"\bcarte\b{_OVER}\b(perdue|volee)\b|\b(perte|vol) de (la |votre )?carte",
    rf"\btarjeta\b{_OVER}\b(perdida|robada|extraviada)|\b(robo|perdida) de (la )?tarjeta",
    rf"\bcartao\b{_OVER}\b(perdido|roubado|extraviado)",
    rf"\b(kaart|pas|betaalpas)\b{_OVER}\b(verloren|gestolen)|\b(verloren|gestolen) (kaart|pas|betaalpas)",
)
CONFIRM = any_of(
    r"autenticazione( forte| del cliente| 3d secure)* (e )?(richiesta|necessaria|obbligatoria)",
    r"richiede (l')?autenticazione",
    r"(authentifizierung|authentisierung)( des kunden| durch den kunden)?( ist)? (erforderlich|notwendig|notig)",
    r"authentification( forte| du client| 3d secure)* (est )?(requise|necessaire|obligatoire|exigee)",
    r"autenticacion( reforzada| del cliente)* (es )?(requerida|necesaria|obligatoria)",
    r"(se )?requiere autenticacion",
    r"autenticacao( forte| do cliente)* (e )?(requerida|necessaria|obrigatoria|exigida)|requer autenticacao",
    r"(authenticatie|verificatie)( door de klant)? (is )?(vereist|nodig|verplicht)",
)
CLOSED = any_of(
    r"conto( corrente)? (e )?(stato )?(chiuso|estinto)",
    r"konto (ist |wurde )?(aufgelost|geschlossen|erloschen)",
    r"compte (bancaire )?(est )?(cloture|ferme)\b",
    r"cuenta (bancaria )?(esta )?(cerrada|cancelada)",
    r"conta (bancaria )?(esta )?(encerrada|fechada)",
    r"rekening (is )?(opgeheven|gesloten)",
)
BLOCKED = any_of(
    rf"\bcarta (di credito )?(e )?(stata )?{_BUT}bloccata|conto (e )?{_BUT}bloccato",
    rf"\bkarte (ist |wurde )?{_BUT}gesperrt|\bgesperrte karte|konto (ist |wurde )?{_BUT}gesperrt",
    rf"\bcarte (bancaire )?(est )?{_BUT}bloquee|carte (mise )?en opposition|opposition sur (la )?carte",
    rf"\btarjeta (de credito )?(esta )?{_BUT}bloqueada|cuenta (esta )?{_BUT}bloqueada",
    r"\bcartao (de credito )?(esta )?bloqueado|conta (esta )?bloqueada",
    r"\b(kaart|pas|betaalpas) (is )?geblokkeerd|\bgeblokkeerde (kaart|pas)|rekening (is )?geblokkeerd",
)
_NONE = r"\b(kein(en?)?|ohne|aucun|pas de|sans|nessun|senza|ningun|sin|nenhum|sem|geen|zonder)"
_VALID = r"( (gultige[sn]?|aktive[sn]?|geldige?|actieve?))?"
_UNNEEDED = (
    r"(?! (sepa )?(ist |est |n'est |is |e )?"
    r"(erforderlich|notwendig|notig|moglich|requis|necessaire|richiesto|necessari[oa]|requerido|vereist|nodig))"
)
FOR_GOOD = any_of(
    r"mandato (sdd )?(e )?(stato )?(revocato|scaduto|annullato)|titolare (del conto )?(e )?deceduto",
    r"(mandat|lastschriftmandat) (ist |wurde )?(widerrufen|abgelaufen|erloschen|geloscht)",
    rf"{_NONE}{_VALID} (sepa[- ]?)?(lastschrift)?(mandat|mandato|mandaat|machtiging)\b{_UNNEEDED}",
    r"\bmandat (sepa )?(est )?inexistant\b",
    r"kontoinhaber (ist )?(verstorben|tot)\b",
    r"lastschrift (wurde )?widersprochen",
    r"mandat (sepa )?(est |a ete )?(revoque|expire|resilie|annule)|titulaire (du compte )?(est )?decede",
    r"mandato (esta |ha sido )?(revocado|vencido|cancelado|caducado)|titular (de la cuenta )?(ha )?fallecido",
    r"mandato (foi |esta )?(revogado|expirado)|titular (da conta )?falecido",
    r"(machtiging|mandaat) (is )?(ingetrokken|verlopen|herroepen)|rekeninghouder (is )?overleden",
)
NUMBER = any_of(
    r"numero (di |della )?carta (non valido|errato)",
    r"(kartennummer|kontonummer|iban) (ist )?(ungultig|falsch)|(?<!-)\bkonto existiert nicht\b",
    r"numero de (la )?carte (invalide|incorrect|errone)",
    r"numero de (la )?tarjeta (no valido|invalido|incorrecto)",
    r"numero do cartao (invalido|incorreto)",
    r"(kaartnummer|iban) (is )?(ongeldig|onjuist)",
)
FRAUD = (
    r"\b(sospetta|sospetto di) frode|betrugsverdacht|verdacht auf betrug|suspicion de fraude|fraude suspectee|"
    r"sospecha de fraude|suspeita de fraude|vermoeden van fraude"
)
FUNDS = any_of(
    r"\bplafond (e )?(stato )?superato\b",
    r"(fondi|credito|saldo|disponibilita|plafond) (non sufficient[ei]|insufficient[ei])|saldo non disponibile",
    r"(nicht ausreichend\w*|unzureichend\w*|mangelnde|ungenugend\w*|keine ausreichende) (deckung|guthaben|mittel)"
    r"|(konto|karte)\w* (ist )?nicht gedeckt|\b(guthaben|deckung) (ist )?nicht ausreichend|\bmangels deckung\b",
    r"(?<!-)\b(karten)?limit (ist |wurde )?uberschritten",
    r"(fonds|solde|provision) insuffisante?s?|defaut de provision|provision non suffisante",
    r"(fondos|saldo|credito) insuficientes?|sin fondos",
    r"(fundos|saldo) insuficientes?|sem saldo",
    r"(onvoldoende|ontoereikend) (saldo|tegoed)|saldo (is )?(ontoereikend|te laag|onvoldoende)",
)
EXPIRED = any_of(
    rf"\bcarta\b{_OVER}\bscaduta",
    rf"\bkarte\b{_OVER}\babgelaufen|\babgelaufene karte",
    rf"\bcarte\b{_OVER}\b(expiree|perimee)",
    rf"\btarjeta\b{_OVER}\b(caducada|vencida|expirada)",
    rf"\bcartao\b{_OVER}\b(expirado|vencido|caducado)",
    rf"\b(kaart|pas|betaalpas)\b{_OVER}\bverlopen|\bverlopen (kaart|pas)",
)
REFUSED = any_of(
    r"\bcarta non valida|\bungultige karte",
    r"\bkarte (ist |wurde )?(ungultig|nicht akzeptiert)|\bcarte (est )?(invalide|non valide)",
    r"\btarjeta (no valida|invalida)|\bcartao invalido|\bongeldige (kaart|pas)",
    rf"(transazione|operazione|pagamento|autorizzazione|carta|addebito)\b{_OVER}\b(negat|rifiutat|declinat|non autor)",
    r"temporaneamente bloccat|vorubergehend gesperrt",
    r"temporairement bloque|temporalmente bloquead|tijdelijk geblokkeerd",
    r"non onorare|rifiutat[ao] dalla banca|(pin|cvv|cvc) errato",
    r"\babgelehnt|\babgewiesen|zahlung (wurde )?verweigert|nicht (genehmigt|autorisiert|einlosen)",
    rf"(paiement|transaction|carte|autorisation|operation|prelevement)\b{_OVER}\b(refuse|decline|rejete|non autorise)",
    r"ne pas honorer",
    r"\b(denegad|rechazad|rehusad|declinad)[oa]|no autorizad[oa]|no honrar",
    r"\b(recusad|negad)[oa]\b|nao autorizad[oa]|nao honrar",
    r"\b(geweigerd|afgewezen)\b|niet geaccepteerd",
)
STOCK = any_of(
    r"\besaurit[oaie]\b(?!.*\bpin\b)|non disponibile (a|in) magazzino|scorte (insufficienti|esaurite)",
    r"\bausverkauft|nicht (mehr )?(auf lager|vorratig|lieferbar)|\bvergriffen",
    r"rupture de stock|en rupture\b|stock (insuffisant|epuise)|(article|produit) epuise",
    r"\bagotad[oa]\b|sin (stock|existencias)|existencias insuficientes",
    r"\besgotad[oa]\b|sem (stock|estoque)|fora de (stock|estoque)",
    r"\buitverkocht|niet (meer )?(op voorraad|leverbaar)|onvoldoende voorraad",
)
PASSING = any_of(
    r"errore (tecnico|di sistema|di rete)|servizio[^.;]{0,20}non disponibile",
    r"riprovare (piu tardi|in seguito)|tempo scaduto",
    r"technischer fehler|systemfehler|zeituberschreitung",
    r"(vorubergehend|derzeit) nicht (verfugbar|erreichbar)|spater (noch einmal|erneut|nochmals)",
    r"erreur (technique|systeme|interne)|service[^.;]{0,20}indisponible",
    r"delai (d'attente )?depasse|(reessay\w+|reessaie) plus tard",
    r"error (tecnico|del sistema|interno)|servicio[^.;]{0,20}no disponible",
    r"intent\w+[^.;]{0,15}mas tarde|tiempo (de espera )?agotado",
    r"erro (tecnico|do sistema|interno)|servico[^.;]{0,20}indisponivel",
    r"tente[^.;]{0,15}mais tarde|tempo (de espera )?esgotado",
    r"technische (fout|storing)|systeemfout|probeer[^.;]{0,15}later|tijdelijk niet beschikbaar",
)

STOLEN_ELSEWHERE = any_of(
    r"\bkort(et)? (er )?stjalet\b",
    r"\bkarta (jest )?skradziona\b",
    r"\bкарта (была )?украдена\b",  # noqa: RUF001 - a text in Cyrillic letters
)
FUNDS_ELSEWHERE = r"\bbrak srodkow\b"

_HARD = re.compile(any_of(LOST, FRAUD, CONFIRM, CLOSED, BLOCKED, FOR_GOOD, NUMBER, STOLEN_ELSEWHERE))
_SOFT = (
    (re.compile(any_of(FUNDS, EXPIRED, FUNDS_ELSEWHERE)), FailureClass.PAYMENT),
    (re.compile(PASSING), FailureClass.TRANSIENT),
    (re.compile(STOCK), FailureClass.STOCK),
    (re.compile(REFUSED), FailureClass.PAYMENT),
)
_NOT = (
    r"\b(non|nicht|kein\w*|pas|no|nao|niet|geen|sans|senza|ohne|sin|sem|zonder|nessun\w*|aucune?|ningun\w*|nenhum\w*|"
    r"ikke|ingen|intet|nie|zadna|не)"
)
_IS = r"( (e|ist|est|a|ete|esta|ha|sido|foi|stata|stato|is|wurde|als|come|comme|como|de|d'))*"
_BEFORE = re.compile(
    rf"{_NOT}{_IS}( (se|si|es|il|la|le|der|die|das|un|una|une|eine?|hinweis auf|anzeichen fur))*( d'| l'|\s)*$"
)
_BAD = (
    r"(smarrita|rubata|persa|verloren|gestohlen\w*|perdue|volee|perdida|robada|perdido|roubado|gestolen|"
    r"bloccat[ao]|gesperrt\w*|bloquee|bloquead[ao]|geblokkeerd\w*|"
    r"chius[ao]|estinto|geschlossen|cloture|ferme|cerrada|cancelada|encerrada|opgeheven|"
    r"scadut[ao]|abgelaufen\w*|expire\w*|perimee|caducad[ao]|vencid[ao]|expirad[ao]|verlopen|"
    rf"revocat[ao]|widerrufen|revoque|revocado|{FRAUD})"
)
_STEP = r"(autenticazione|authentifizierung|authentification|autenticacion|autenticacao|authenticatie)"
_NEEDED = r"( (richiesta|erforderlich|requise|necessaire|necesaria|requerida|necessaria|vereist|nodig))"
_DENIALS = re.compile(
    rf"{_NOT}{_IS} {_BAD}|{_NOT} {_STEP}{_NEEDED}?"
    rf"|{_STEP}( (e|ist|est|n'est|es|is))? (non|nicht|pas|no|nao|niet){_NEEDED}"
)


def read_in_other_languages(phrase: str) -> tuple[FailureClass, bool] | None:
    """The class of a phrase, and whether it is permanent; None when none of its words are known."""
    text = without_denied(_DENIALS.sub(" ", without_accents(phrase)), _HARD, _BEFORE)
    if _HARD.search(text):
        return FailureClass.PAYMENT, True
    return next(((cls, False) for pattern, cls in _SOFT if pattern.search(text)), None)


def without_accents(text: str) -> str:
    """Lower case, without accents: `Autenticación` is `autenticacion`."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    return "".join(char for char in plain if not unicodedata.combining(char))
