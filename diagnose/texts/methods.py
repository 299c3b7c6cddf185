"""What each SIP method is for, and what to look at when it goes wrong."""

from __future__ import annotations

from diagnose.texts.entry import Text

METHODS = {
    "INVITE": Text(
        (
            "Sets a call up, and inside a dialog (re-INVITE) changes it: hold, codecs, addresses. The only method "
            "with a three-way handshake."
        ),
        "Every try goes INVITE, 100, 18x, final response, ACK. A repeated INVITE means that nothing came back.",
        "RFC 3261 section 13",
    ),
    "ACK": Text(
        (
            "Confirms that the final response to an INVITE arrived. After a 2xx it travels on its own, by Contact "
            "and Route; after a failure hop by hop."
        ),
        ("A 2xx without ACK is repeated and the call dies after 32 s: look at Contact and Record-Route of the 200."),
        "RFC 3261 sections 13.2.2.4 and 17.1.1.3",
    ),
    "BYE": Text(
        "Ends a call that was answered.",
        "Who sent it, and does Reason say why? A BYE after about 32 s points at a lost ACK.",
        "RFC 3261 section 15",
    ),
    "CANCEL": Text(
        "Ends an INVITE that has no final response yet; that INVITE then gets 487.",
        "It must have the branch and CSeq number of its INVITE, or it is answered 481.",
        "RFC 3261 section 9",
    ),
    "REGISTER": Text(
        "Tells the registrar where a user can be reached now, and for how long.",
        "Normal: 401, again with credentials, 200. Compare the Contact with the address it came from.",
        "RFC 3261 section 10",
    ),
    "OPTIONS": Text(
        "Asks what the other side can do; mostly a sign of life between trunks.",
        "Any answer at all shows that the peer is alive, even a 404 or 405.",
        "RFC 3261 section 11",
    ),
    "PRACK": Text(
        "Confirms a provisional response that was sent reliably (Require: 100rel).",
        "Missing PRACKs let the 18x repeat until the call fails.",
        "RFC 3262",
    ),
    "SUBSCRIBE": Text(
        "Asks to be told about an event: presence, message waiting, dialogs, registrations.",
        "A NOTIFY must follow at once, even where nothing is to be told.",
        "RFC 6665",
    ),
    "NOTIFY": Text(
        "Tells about an event that was subscribed to, or how a REFER goes.",
        "481 for it means that the subscriber forgot the subscription.",
        "RFC 6665",
    ),
    "PUBLISH": Text(
        "Gives a server the sender's state (presence), for others to subscribe to.",
        "412 means: publish anew.",
        "RFC 3903",
    ),
    "INFO": Text(
        ("Carries application data inside a dialog: DTMF, fax, picture requests. It changes nothing about the call."),
        "For DTMF see whether both sides also use telephone-event: digits may come twice.",
        "RFC 6086",
    ),
    "REFER": Text(
        "Asks the other side to send a request to a third one: call transfer.",
        "202, then NOTIFYs with the progress of the new call.",
        "RFC 3515",
    ),
    "MESSAGE": Text(
        "A text message, outside any call.",
        "202 means stored, 200 delivered to the next hop.",
        "RFC 3428",
    ),
    "UPDATE": Text(
        "Changes a session before or after the answer without touching the dialog's state.",
        "Used for early media and session timers; must stand in Allow.",
        "RFC 3311",
    ),
}
