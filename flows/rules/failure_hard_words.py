"""The English words of hard declines: a person must help, or the card networks forbid another attempt."""


def any_of(*patterns: str) -> str:
    """One expression that matches wherever one of `patterns` does."""
    return "|".join(patterns)


CARD = r"(?<!gift)(?<!gift[ -])\bcard"
KIND = r"(credit |debit |bank |payment )?"
_END = r"(?=\W*($|- |[.;,(]))"
_THREE_D = r"(3-?ds?\d?|3-?d[ -]?secure|sca)"
_MACHINE = r"(service|server|system|network|processor|reader|gateway|connection|terminal|data|details)"
_CHECK = r"(check|screening|prevention|detection|protection|filter|service|system)"
PRODUCT = r"(skus?|products?|items?|bundles?|markets?|countr(y|ies)|regions?|prices?|(shipping|payment) methods?)"

_STAFF = r"(?! ?(service|server|support|system|manager|team|desk|agent|department|api|hub)\b)"
"""Not `customer service`, and not `the mandate service`."""

LOST = any_of(
    rf"\b(lost|stolen) {KIND}card(?! {_MACHINE})",
    rf"{CARD} (has been |was |is |been )?(reported )?(as )?(lost|stolen)\b",
    rf"{CARD} (has been |was |is |been )?reported (as )?missing\b",
    r"\breported (as )?(lost|stolen)\b",
    r"\blost(/| or )stolen\b",
    r"pick[ -]?up card",
    r"(^|[:.,;/-] ?)(collect|retain|capture|confiscate|seize|withhold) (the )?card(?=\W*$| ?[-.,;:()/])",
    rf"{CARD} (should|must|to) be (captured|retained|collected|confiscated)",
    r"^(base: |status: |payment[\w ]*: |transactions?: )?(lost|stolen)\W*$",
)
"""A lost card; not a lost connection, even one to the card's network."""

_NO_FRAUD = rf"(?!\w| ?{_CHECK}| ?(score|result|level|status|points?|risk|rate|rules?|review|pending)\b)"
FRAUD = any_of(
    r"fraudulent",
    rf"\b(suspected|possible|potential|acquirer|issuer|as|of|to) fraud\b{_NO_FRAUD}",
    r"\bfraud[ -]*(suspected|suspicion|detected|declin|reject|refus|cancel|account)",
    r"\bfraud\W*(- |$)",
    rf"(declin|reject|refus|block)\w{{0,5}}[^.;]{{0,40}}\bfraud{_NO_FRAUD}(?![^.;]*(unavailable|time|respon|reach|error|temporar))",
    r"highest risk",
)
"""Suspected fraud; not a failure of the service that checks for fraud."""

CONFIRM = any_of(
    r"(?<!proxy )authentication (required|needed)",
    r"requires authentication",
    r"payment intent authentication failure",
    r"requires additional( \w+)? authentication",
    r"additional( \w+)? authentication (is )?required",
    r"authentication (is|was) (required|needed)",
    rf"\b{_THREE_D}\b[^.;]{{0,20}}authentication[^.;]{{0,12}}(fail|required)",
    rf"failed {_THREE_D} authentication",
    r"(payer|cardholder|customer) authentication (is )?(required|fail)",
    r"has failed authentication",
    r"3d not authenticated",
    r"\bsca required",
    r"\bstrong customer authentication (is )?(required|needed)",
    r"payer action required",
    r"requires (additional )?(user |customer )?action\b(?! (by|from|of))",
)
"""A payment that the customer must confirm in person."""

_OURS = r"(?<!merchant )(?<!acquirer )(?<!gateway )(?<!your )(?<!connected )(?<!stripe )"
_NOTHING_DONE = r"(?! (the|a|an|this|that|our|your|its|his|her|their|beta)\b)"
"""Not `the team closed the ticket`: what is said is done to the account, not by somebody."""
_OF_BANK = r"(bank |customer |payer |debtor |card |cardholder )?"
CLOSED = any_of(
    rf"\bclosed (the |their |his |her |this )?{_OF_BANK}account{_STAFF}",
    rf"{_OURS}\baccount{_STAFF}[^.;]{{0,20}}\bclosed\b{_NOTHING_DONE}",
    r"\bnon[ -]transaction(al)? account",
    rf"{_OURS}\baccount{_STAFF}[^.;]{{0,15}}\btransferred\b{_NOTHING_DONE}",
    rf"{_OURS}\baccount (has been |was |is )?dormant\b",
)
BLOCKED = any_of(
    rf"(?<!temporarily )(?<!temporary )\b(restricted|blocked) {KIND}card(?! {_MACHINE})",
    rf"{CARD} (has been |was |is )?(permanently )?(blocked|restricted)\b(?! (to|from|in|until|temporar|by velocity))",
    rf"(?<!temporarily )(?<!temporary )\b(blocked|frozen) {_OF_BANK}account",
    rf"{_OURS}(?<!paypal )\baccount (has been |was |is )?(permanently )?(blocked|frozen)\b",
)

_WRONG = r"(not valid|invalid|incorrect|wrong)"
NUMBER = any_of(
    rf"\b(incorrect|invalid|wrong) {KIND}(account|card|iban) number",
    rf"\binvalid {KIND}(account|card|iban){_END}",
    rf"(\baccount|{CARD}) number[^.;]{{0,20}}(incorrect|invalid|not valid|wrong)",
    rf"not a valid {KIND}{CARD} number",
    r"the card is connected to, is invalid",
    r"\bincorrect number",
    r"(?<!quantity: )\binvalid number(?! of)",
    r"\b(wrong|invalid) check[ -]digit",
    r"\bluhn\b",
    rf"{CARD} number with wrong length",
    r"characters in (credit )?card number",
    rf"{CARD} (is |was )?not (recogni[sz]ed|known|found)\b",
    rf"\b(unknown|unrecogni[sz]ed) {KIND}card(?! type)",
    rf"\b(iban|bank account|routing number|sort code) (number |details |is |are |was |were )*{_WRONG}{_END}",
    r"\b(invalid|incorrect|wrong) (iban|bank (account )?details|routing number|sort code|account details)",
    r"\bno such (issuer|card|account|number)",
    r"\bno such (paymentmethod|payment source|stored card|mandate|payment method\W+(pm|card|src)\b)",
    rf"\bno account{_END}",
    r"(unable|failed) to (locate|find) (the )?(bank )?account",
    r"(^|: |bank |customer |payer |debtor )account (number )?(was |is )?(not found|unknown|do(es not|esn't) exist)",
    r"\b(unknown|nonexistent) (bank |customer )?account",
)

_MANDATE = rf"(mandate|billing agreement|payment agreement|pre-?approv\w+|debit instruction){_STAFF}"
_ENDED = (
    r"(expired|revoked|cancel\w*|inactive|withdrawn|terminated|disputed|blocked|lapsed|no longer|not found|invalid|"
    r"rejected|refused|missing)"
)
MANDATE = any_of(
    rf"\b{_MANDATE}\b[^.;:,]{{0,30}}\b{_ENDED}",
    rf"\b{_ENDED} (sepa |bacs |customer |direct )?{_MANDATE}\b",
    r"agreement[^.;]{0,30}(revoked|cancel|inactive)",
    r"(^|: |\d |- )(instruction cancell?ed|no instruction)",
    r"direct debit[^.;]{0,20}(revoked|cancell?ed by (the )?(payer|customer|debtor))",
    r"\b(no|without) (valid |active |sepa )*mandate\b(?! (id|reference|(is |was )?(required|needed|necessary)))",
    r"mandate (is |was )?not (valid|active|signed)\b(?! yet)",
    r"direct debits?( are| is)? not (allowed|enabled|permitted|accepted|supported)",
    r"does not (accept|allow|support) direct debit",
    r"\b(unauthori[sz]ed|not authori[sz]ed|disputed) (direct )?debit",
    r"\bdebit (was |is )?(not authori[sz]ed|unauthori[sz]ed|disputed)",
)
"""A direct debit that the customer or their bank does not allow, or no longer allows."""

_OFCARDS = (
    r"(payment|card|network|device|customer|vault(ed)?|stored|billing|recurring|apple pay|google pay|pk ?payment)[ -]?"
)
_GONE = r"(revoked|deleted|deactivated|terminated|expired|invalid|not found|unknown|no longer|does not exist|not valid)"
_NO_API = "".join(
    rf"(?<!{kind} )" for kind in ("access", "api", "auth", "bearer", "client", "id", "oauth", "refresh", "session")
)
TOKEN = any_of(
    rf"\b{_OFCARDS}token\b{_STAFF}[^.;]{{0,25}}\b{_GONE}",
    rf"\b{_GONE} {_OFCARDS}token\b",
    rf"{_NO_API}\btoken\b[^.;]{{0,25}}\b(permanently|deactivated|revoked|deleted)",
    r"\b(deactivated|deleted|permanently revoked) token",
    r"\bpayment (method|source) (has been |was |is )?(detached|removed|deleted)\b"
    r"(?! from (the |this |an? )?(market|shop|order|cart|checkout))",
    rf"{CARD} (has been |was |is )?(detached|removed|deleted) from (the |your |a )?(\w+'s )?"
    r"(wallet|vault|customer|account)\b",
)
"""A stored card that no longer exists; not the token with which we call an API."""

_WHO = rf"(customer|payer|debtor|(account|card) ?holder){_STAFF}"
_RECURRING = (
    r"(the |this |a |all |their |his |her |any )*(sepa |direct )?"
    r"(subscription|recurring|mandate|debit|standing order|billing)"
)
PERSON = any_of(
    r"(holder|payer|payee|customer|debtor|beneficiary|person|owner|is|was|reported)( as| has| is| was)? deceased\b",
    r"\bdeceased (bank |account |card )*(holder|payer|payee|customer|debtor|beneficiary|person|owner)\b",
    r"(^|: ?|[(/,-] ?)deceased(?=\W*($|[.;,)(/-]))",
    r"(holder|payer|payee|customer|debtor|beneficiary) (has |is )?(died|dead|passed away)\b",
    r"(refused|refusal|disputed|stopped|revoked) by (the )?(customer|debtor|payer|payee|account ?holder|cardholder)",
    rf"{_WHO} (advises|claims|states)[^.;]{{0,80}}(not|un)[ -]?authori[sz]ed",
    rf"{_WHO}[^.;]{{0,20}}\b(revoked|withdrew|withdrawn|disputes|disputed|stopped)\b",
    rf"{_WHO} (has |have )?opted out(?=\W*($|[.;,(]))",
    r"\bopted out of (the |all |any |further )*(automatic |direct )?"
    r"(recurring|subscription|billing|payments?|debit|charges)",
    rf"{_WHO} (has )?cancell?ed {_RECURRING}\b",
    rf"{_RECURRING} (payments? )?(has been |was |is )?cancell?ed by (the )?"
    r"(customer|debtor|payer|account ?holder|cardholder)",
    r"(authori[sz]ation|consent)[^.;]{0,20}\b(revoked|withdrawn|disputed)",
    r"refund request(ed)? by",
)
"""What only the customer can answer, or can no longer answer."""

FOR_GOOD = any_of(
    r"do not (retry|try again)(?![^.;]{0,25}(immediately|too|before|until|within|for \d|today))",
    r"never retry",
    r"issuer never approves",
    r"stop recurring",
    r"new account information available",
    r"revocation of",
    r"revoked[^.;]{0,30}authori[sz]ation",
    r"stop payment",
    r"payment stopped",
    r"stopped (all )?(billing|recurring)",
    r"excessive retr",
    r"hard declin",
    r"payment cancellation(?! (failed|error))",
    r"permanently (declined|refused|blocked|invalid)",
    # Raw codes of the card networks, where the number is clearly such a code.
    rf"^(?!.*\b{PRODUCT}\b)(base|status|payment[\w ]*|transactions?): (0[47]|1[245]|4[136]|57|R[013])(?=\s*($|[:.)-]))",
)
