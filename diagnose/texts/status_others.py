"""What the SIP status codes of all classes but 4xx mean for the engineer, and what to look at next."""

from __future__ import annotations

from diagnose.texts.entry import Text

OTHERS = {
    100: Text(
        (
            "The next hop has the request and stops its sender from repeating it; nothing is known about the called "
            "party yet."
        ),
        "Is it the last thing that came? Then the next hop is stuck: look at what it sent onwards.",
        "RFC 3261 section 21.1.1",
    ),
    180: Text(
        "The called device is alerting its user. The caller hears local ringback unless media already flows.",
        "Missing ringback: see whether a 183 with SDP came as well and which of the two the caller follows.",
        "RFC 3261 section 21.1.2",
    ),
    181: Text(
        "The call goes on to another destination; a forwarding is at work.",
        "Read History-Info or Diversion to see who forwarded, and why.",
        "RFC 3261 section 21.1.3",
    ),
    182: Text(
        "The called side holds the call in a queue.",
        "A long wait is by design here; the caller's own ringing timer may still end it.",
        "RFC 3261 section 21.1.4",
    ),
    183: Text(
        "News before the answer, usually with SDP: announcements or ringback as early media.",
        "Check that the caller opens its media for this SDP, and whether PRACK is required (Require: 100rel).",
        "RFC 3261 section 21.1.5, RFC 3960",
    ),
    199: Text(
        "One branch of a forked call ended; others go on.",
        "Look at its Reason header for that branch's final code.",
        "RFC 6228",
    ),
    200: Text(
        "The request was carried out. For an INVITE it is the answer: the ACK must follow within 32 s.",
        "No audio after it? Compare the addresses in both SDPs. A repeated 200 means that its ACK is lost.",
        "RFC 3261 section 21.2.1",
    ),
    202: Text(
        "Taken, but not finished: its result comes later, for REFER and SUBSCRIBE in a NOTIFY.",
        "Look at the NOTIFYs that follow. New equipment sends 200 in its place.",
        "RFC 6665 section 8.3.1",
    ),
    204: Text(
        "A subscription was taken and its state has not changed, so no NOTIFY follows.",
        "Nothing is wrong: the request asked for this with Suppress-If-Match.",
        "RFC 5839",
    ),
    300: Text(
        "The called address leads to several places, and the caller may choose.",
        "Look at the Contacts in it; most callers take the first or give up.",
        "RFC 3261 section 21.3.1",
    ),
    301: Text(
        "The user has moved for good; the new address is in Contact.",
        "Should the caller (or a proxy) follow it? Correct the number in the routing table.",
        "RFC 3261 section 21.3.2",
    ),
    302: Text(
        ("The call is to be sent to the address in Contact, this time. Forwarding and least-cost routing answer so."),
        "Was a new INVITE sent to that Contact? If not, the caller does not follow redirections.",
        "RFC 3261 section 21.3.3",
    ),
    305: Text(
        "The call must go through the proxy that Contact names.",
        "Rare; many callers ignore it. Set that proxy as outbound proxy.",
        "RFC 3261 section 21.3.4",
    ),
    380: Text(
        "The call failed but another service is offered in the body; emergency calls in mobile networks use it.",
        "Read the body and Contact for the alternative.",
        "RFC 3261 section 21.3.5",
    ),
    500: Text(
        "Something broke inside the server: script error, database, exhausted memory.",
        "Its own log has the answer; look for Retry-After and a CSeq lower than before.",
        "RFC 3261 section 21.5.1",
    ),
    501: Text(
        "The server does not know the method at all.",
        "Let the sender not use it, or send it elsewhere.",
        "RFC 3261 section 21.5.2",
    ),
    502: Text(
        "The server's own next hop gave a bad answer; gateways use it for a destination out of order.",
        "Look at the leg behind that server.",
        "RFC 3261 section 21.5.3",
    ),
    503: Text(
        (
            "Overloaded, in maintenance, or all lines in use. The caller should try another server; Retry-After "
            "says when to return."
        ),
        "Who said it, the far end or a proxy without a next hop? Look at calls per second and channels.",
        "RFC 3261 section 21.5.4",
    ),
    504: Text(
        "The server got no timely answer from another one, DNS or database included.",
        "Look one hop further, and at name resolution.",
        "RFC 3261 section 21.5.5",
    ),
    505: Text(
        "Not SIP/2.0.",
        "Look at the start line: something wrote it wrongly.",
        "RFC 3261 section 21.5.6",
    ),
    513: Text(
        "The message is larger than the server takes.",
        "Shorten it: fewer codecs, ICE candidates, Identity headers, Vias.",
        "RFC 3261 section 21.5.7",
    ),
    555: Text(
        "The push service that the registration asks for is not supported there.",
        "Look at the pn-provider parameter of Contact.",
        "RFC 8599",
    ),
    580: Text(
        "A resource that was made a condition of the session could not be reserved.",
        "See the a=curr and a=des lines of the SDP.",
        "RFC 3312 section 8",
    ),
    600: Text(
        "The user is busy everywhere: no other branch shall be tried.",
        "As for 486; forking stops here.",
        "RFC 3261 section 21.6.1",
    ),
    603: Text(
        "The user declined, everywhere. Some carriers send it when analytics block a call (603+).",
        "Did it come at once? Then a machine decided: read Reason, and reputation of the caller ID.",
        "RFC 3261 section 21.6.2",
    ),
    604: Text(
        "The number exists nowhere.",
        "As for 404; no other route shall be tried.",
        "RFC 3261 section 21.6.3",
    ),
    606: Text(
        "The user was reached, but the session is acceptable nowhere.",
        "As for 488; Warning says what did not fit.",
        "RFC 3261 section 21.6.4",
    ),
    607: Text(
        "The called party does not want calls from this number.",
        "Blocked by its user: nothing to repair in the network.",
        "RFC 8197",
    ),
    608: Text(
        "A machine (call analytics) rejected the call before any user saw it.",
        "Call-Info holds whom to ask for redress.",
        "RFC 8688",
    ),
}
